"""The settings of learned prompts: checked, frozen, and free of anything heavy, so that a command can read them."""

from __future__ import annotations

from dataclasses import dataclass

from store.errors import UserError

SIDE = 224  # of the encoder's input for which a border is published
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
