"""`Wrapper`: a module around a victim, and a victim itself. What it does not change, the inner one computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from store.keys import digest_arrays

from .clip import Clip, as_array
from .origins import Origin
from .partial import Partial
from .victim import Victim, wrapper_row

INNER = "inner."  # what the names of the inner victim's tensors begin with


class Wrapper(nn.Module):
    """A victim around `inner`. What is its own (parameters, buffers, modules) is trained and stored; `inner` is frozen.

    Override `seen` to change the images, `encoder_input` to change what becomes of them for the image encoder,
    `input_features` to change what that makes of it; `tokenize`, `token_rows` and `encode_texts` to change the texts;
    or any other of its methods. `wrap` says which row it is of and what it stands around.
    """

    kind, version, base = "", 1, ""
    note = ""  # what a reader is told when it is trained

    def __init__(self, inner: Victim, settings: Any = None) -> None:
        super().__init__()
        self.inner, self.settings = inner, settings

    def seen(self, images: Tensor) -> Tensor:
        """What becomes of the images, pixels in [0, 1], before they are encoded."""
        return images

    def encoder_input(self, images: Tensor) -> Tensor:
        return self.inner.encoder_input(self.seen(images))

    def input_features(self, inputs: Tensor) -> Tensor:
        return self.inner.input_features(inputs)

    def image_features(self, images: Tensor) -> Tensor:
        return self.input_features(self.encoder_input(images))

    def encode_images(self, images: Tensor) -> Tensor:
        return F.normalize(self.image_features(images), dim=-1)

    def require(self, prompts: Sequence[str]) -> None:
        """Raises UserError for class prompts that it cannot be trained on."""

    def draw(self, seed: int) -> None:
        """Set its own tensors to where a training with this seed begins, if that is drawn."""

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        return self.inner.tokenize(texts)

    def token_rows(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        return self.inner.token_rows(texts)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        return self.inner.encode_texts(tokens)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        return self.encode_texts(self.tokenize(texts))

    def forward(self, images: Tensor | None = None, tokens: Tensor | None = None, *, raw: bool = False) -> Any:
        encode = self.image_features if raw else self.encode_images
        return (
            None if images is None else encode(images),
            None if tokens is None else self.encode_texts(tokens),
            self.scale,
        )

    @property
    def clip(self) -> Clip:
        return self.inner.clip

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def origin(self) -> Origin:
        return self.inner.origin

    @property
    def device(self) -> torch.device:
        return self.inner.device

    @property
    def precision(self) -> str:
        return self.inner.precision

    @property
    def scale(self) -> Tensor:
        return self.inner.scale

    @property
    def tokenizer(self) -> Any:
        return self.inner.tokenizer

    def use_precision(self, precision: str) -> Self:
        self.inner.use_precision(precision)
        return self

    def state(self) -> dict[str, Tensor]:
        """Its own tensors: what is trained."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith(INNER)}

    def tensors(self) -> dict[str, Tensor]:
        return {name: tensor.detach().cpu().contiguous() for name, tensor in self.state().items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        missing, unknown = self.load_state_dict(dict(tensors), strict=False)
        if unknown or any(not name.startswith(INNER) for name in missing):
            raise RuntimeError(f"the tensors are not those of {self.kind}")

    def freeze(self, tune: str = "") -> None:
        """Leave its own parameters trainable: there is nothing to choose."""
        for name, weight in self.named_parameters():
            weight.requires_grad_(not name.startswith(INNER))

    @cached_property
    def record(self) -> Partial:
        """What a checkpoint says of it beside its tensors."""
        settings = asdict(self.settings) if self.settings is not None else {}
        return Partial(self.kind, self.version, self.base, self.inner.digest(), settings)

    def digest(self) -> str:
        return self.record.digest(digest_arrays({name: as_array(tensor) for name, tensor in self.tensors().items()}))


def wrap(name: str, victim: Victim, settings: Any, *, base: str) -> Wrapper:
    """The wrapper of this name around a victim, which is called `base`. Raises UserError where there is none."""
    row = wrapper_row(name)
    wrapper = row.build(victim, settings)
    wrapper.kind, wrapper.version, wrapper.base = name, row.version, base
    wrapper.freeze()
    return wrapper.eval().to(victim.device)
