"""The settings of learned prompts: checked, frozen, and free of anything heavy, so that a command can read them."""

from __future__ import annotations

from dataclasses import dataclass

from store.errors import UserError

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
