"""A learned border around what the image encoder takes, and tokens behind those of its patches (TeCoA's visual prompt).

The border is added after the resize and the normalisation, and never clipped, as published (Mao et al., 2023). An
attack moves pixels: it goes through resize, normalisation, border and tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from store.errors import UserError

from .victim import Victim, Wrapper
from .wrappers import SIDE, VisualPromptSettings


class VisualPrompt(Wrapper):
    """phi(x) = x + border, for x of (3, side, side); its four parts lie around a middle that stays as it is."""

    settings: VisualPromptSettings

    def __init__(self, inner: Victim, settings: VisualPromptSettings) -> None:
        super().__init__(inner, settings)
        side = inner.clip.image_size
        width = settings.width(side)
        self.middle = side - 2 * width
        if self.middle < 1:
            raise UserError(f"a border of {width} pixels covers all {side} of {inner.name}", hint="-o border=30")
        self.up, self.down = (nn.Parameter(torch.zeros(3, width, side)) for _ in range(2))
        self.left, self.right = (nn.Parameter(torch.zeros(3, self.middle, width)) for _ in range(2))
        if settings.prompt_tokens:
            self.tokens = nn.Parameter(torch.zeros(settings.prompt_tokens, _width_of_tokens(inner)))
        share = "" if side == SIDE else f", as {settings.border} is of {SIDE}"
        self.note = f"the border is {width} of the {side} pixels of {inner.name}'s image encoder wide{share}"

    def draw(self, seed: int) -> None:
        """From N(0, 1), as published."""
        generator = torch.Generator().manual_seed(seed)
        for tensor in self.state().values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))

    def border(self) -> Tensor:
        """(3, side, side), 0 in the middle."""
        middle = self.left.new_zeros(3, self.middle, self.middle)
        return torch.cat([self.up, torch.cat([self.left, middle, self.right], dim=2), self.down], dim=1)

    def encoder_input(self, images: Tensor) -> Tensor:
        return super().encoder_input(images) + self.border()

    def input_features(self, inputs: Tensor) -> Tensor:
        with self.tokens_added():
            return super().input_features(inputs)

    @contextmanager
    def tokens_added(self) -> Iterator[None]:
        """Inside, the encoder's transformer gets the learned tokens after those of the patches, without a position."""
        if not self.settings.prompt_tokens:
            yield
            return

        def add(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            own = self.tokens.to(given[0].dtype).expand(len(given[0]), -1, -1)
            return torch.cat([given[0], own], dim=1), *given[1:]

        hook = self.clip.model.visual.ln_pre.register_forward_pre_hook(add)
        try:
            yield
        finally:
            hook.remove()


def _width_of_tokens(inner: Victim) -> int:
    """The channels of the image encoder's tokens. Raises UserError for an encoder that has no such tokens."""
    visual = inner.clip.model.visual
    if not isinstance(visual, VisionTransformer):
        raise UserError(
            f"the image encoder of {inner.name} is no vision transformer: it has no tokens to add prompts to",
            hint="-o prompt_tokens=0",
        )
    return int(visual.class_embedding.shape[0])
