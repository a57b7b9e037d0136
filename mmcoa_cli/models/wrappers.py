"""The wrappers that may stand around a model: their names, and their settings. Importing this module loads nothing
heavy: a wrapper is built when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from store.errors import UserError

if TYPE_CHECKING:
    from .victim import Victim, Wrapper

SIDE = 224  # of the encoder's input for which a border is published
CONTEXT = 32  # context vectors, as published
MOST_TOKENS = 1000  # of a prompt: more than any encoder has patches


@dataclass(frozen=True)
class VisualPromptSettings:
    """`border`: its width in pixels of an encoder's input of 224; of a smaller side the same share (30 is 4 of 32, 9 of
    64). `prompt_tokens`: how many learned tokens follow those of the patches."""

    border: int = 30
    prompt_tokens: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.border < SIDE / 2:
            raise UserError(f"-o border={self.border} is no border of {SIDE} pixels", hint="-o border=30, as published")
        if not 0 <= self.prompt_tokens <= MOST_TOKENS:
            raise UserError(
                f"-o prompt_tokens={self.prompt_tokens} is out of range", hint="-o prompt_tokens=10, as published"
            )

    def width(self, side: int) -> int:
        """The border's width in pixels of an input of this side."""
        return max(1, round(self.border * side / SIDE))


@dataclass(frozen=True)
class ContextSettings:
    """`n_ctx`: how many context vectors stand in front of the class name; None: 32, as published, or half of what a
    model reads where that is less."""

    n_ctx: int | None = None

    def __post_init__(self) -> None:
        if self.n_ctx is not None and not 1 <= self.n_ctx <= MOST_TOKENS:
            raise UserError(f"-o n_ctx={self.n_ctx} is out of range", hint=f"-o n_ctx={CONTEXT}, as published")

    def count(self, reads: int) -> int:
        """How many, for a model that reads this many tokens."""
        return min(CONTEXT, reads // 2) if self.n_ctx is None else self.n_ctx


@dataclass(frozen=True)
class WrapperRow:
    """A wrapper: `build` makes it around a victim, with `settings` (a frozen dataclass of its options).

    Built twice with the same settings it is the same. Raise `version` when it would compute something else.
    """

    name: str
    build: Callable[[Victim, Any], Wrapper]
    title: str = ""
    source: str = ""
    settings: type[Any] | None = None
    version: int = 1
    template: str = ""  # of class prompts, where it has its own instead of the dataset's

    def settings_of(self, options: Mapping[str, Any]) -> Any:
        """The settings with those of `options` that it has."""
        names = {field.name for field in fields(self.settings)} if self.settings else set()
        given = {name: value for name, value in options.items() if name in names}
        return self.settings(**given) if self.settings else None


def _by(module: str, kind: str) -> Callable[[Victim, Any], Wrapper]:
    """`build` by a class of a module beside this one, which is imported when it is used."""

    def build(victim: Victim, settings: Any) -> Wrapper:
        made: Wrapper = getattr(import_module(f".{module}", __package__), kind)(victim, settings)
        return made

    return build


WRAPPERS: dict[str, WrapperRow] = {
    "visual-prompt": WrapperRow(
        "visual-prompt",
        _by("visual_prompt", "VisualPrompt"),
        title="a learned border around what the image encoder takes, and tokens behind its patches",
        source="Mao et al., 2023, arXiv 2212.07016",
        settings=VisualPromptSettings,
    ),
    "context": WrapperRow(
        "context",
        _by("context", "Context"),
        title="learned context vectors in front of the class name",
        source="Zhou et al., 2022, arXiv 2109.01134; Zhang et al., 2024, arXiv 2311.11261",
        settings=ContextSettings,
        template="{}.",
    ),
}


def wrapper_row(name: str) -> WrapperRow:
    """The wrapper of this name. Raises UserError that names the closest ones."""
    if name in WRAPPERS:
        return WRAPPERS[name]
    close = get_close_matches(name, WRAPPERS, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}?" if close else "the plugin that has it is named by MMCOA_PLUGINS"
    raise UserError(f"there is no wrapper called {name!r}", hint=hint)
