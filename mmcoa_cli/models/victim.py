"""What an attack and a test see of a model: a `Victim`. A CLIP is one; so is a `Wrapper` around one, such as a learned
border or prompt, or a defence at test time. Every attack goes through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from store.keys import digest_arrays

from .origins import Origin
from .precision import choose
from .wrapper_record import WrapperRecord
from .wrappers import wrapper_row

if TYPE_CHECKING:
    from .clip import Clip

INNER = "inner."  # what the names of the inner victim's tensors begin with


class Victim(nn.Module, ABC):
    """Pixels and strings to embeddings. Images are pixels in [0, 1], (B, 3, S, S) of any S; gradients reach them."""

    name: str
    origin: Origin
    tokenizer: Any
    note = ""  # what a reader is told when it is trained

    @property
    @abstractmethod
    def clip(self) -> Clip:
        """The model inside all wrappers."""

    @property
    def device(self) -> torch.device:
        return self.clip.mean.device

    @property
    def scale(self) -> Tensor:
        """exp(logit_scale), the factor of the cosines: a scalar."""
        scale: Tensor = self.clip.model.logit_scale.exp()
        return scale

    @abstractmethod
    def encoder_input(self, images: Tensor) -> Tensor:
        """Images -> what the image encoder takes, (B, 3, side, side): resized and normalised."""

    @abstractmethod
    def input_features(self, inputs: Tensor) -> Tensor:
        """What the image encoder takes -> features (B, D), of any length."""

    def image_features(self, images: Tensor) -> Tensor:
        """Both in one: images -> features (B, D), of any length."""
        return self.input_features(self.encoder_input(images))

    def encode_images(self, images: Tensor) -> Tensor:
        """f: images -> unit embeddings (B, D)."""
        return F.normalize(self.image_features(images), dim=-1)

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Strings -> tokens (K, L)."""

    @abstractmethod
    def token_rows(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Each text as the model sees it: its tokens."""

    @abstractmethod
    def encode_texts(self, tokens: Tensor) -> Tensor:
        """g: tokens -> unit embeddings (K, D)."""

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """g of any number of strings, without gradients: (n, D)."""
        return self.encode_texts(self.tokenize(texts))

    def forward(self, images: Tensor | None = None, tokens: Tensor | None = None, *, raw: bool = False) -> Any:
        """Both encoders and the scale in one call, as distributed training needs it: (B, D), (K, D), scalar. What is
        not given is None; with `raw` the images' features keep their length."""
        encode = self.image_features if raw else self.encode_images
        return (
            None if images is None else encode(images),
            None if tokens is None else self.encode_texts(tokens),
            self.scale,
        )

    @property
    def precision(self) -> str:
        """What both encoders run in: "fp32", "tf32" or "bf16"; pixels, embeddings, losses and weights are float32."""
        return self.clip.runs_in

    def use_precision(self, precision: str) -> Self:
        """Run them in this one from now on. Raises UserError for one that the device does not have."""
        choose(precision, self.device)
        self.clip.runs_in = precision
        return self

    @abstractmethod
    def digest(self) -> str:
        """The hash of everything that decides what it computes."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint stores of it, on the CPU."""

    @abstractmethod
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what a checkpoint stored. Raises RuntimeError for tensors of other names or shapes."""

    @abstractmethod
    def freeze(self, tune: str) -> None:
        """Leave trainable only what `tune` (both, image, text) names."""


class Wrapper(Victim):
    """A victim around `inner`, which computes what this one does not change. What is its own (parameters, buffers,
    modules) is trained and stored; `inner` is frozen.

    Override `seen` to change the images, `encoder_input` to change what becomes of them for the image encoder,
    `input_features` to change what that makes of it; `tokenize`, `token_rows` and `encode_texts` to change the texts;
    or any other of its methods. `wrap` says which row it is of and what it stands around.
    """

    kind, version, base = "", 1, ""

    def __init__(self, inner: Victim, settings: Any = None) -> None:
        super().__init__()
        self.inner, self.settings = inner, settings
        self.name, self.origin, self.tokenizer = inner.name, inner.origin, inner.tokenizer

    @property
    def clip(self) -> Clip:
        return self.inner.clip

    def seen(self, images: Tensor) -> Tensor:
        """What becomes of the images, pixels in [0, 1], before they are encoded."""
        return images

    def encoder_input(self, images: Tensor) -> Tensor:
        return self.inner.encoder_input(self.seen(images))

    def input_features(self, inputs: Tensor) -> Tensor:
        return self.inner.input_features(inputs)

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
    def record(self) -> WrapperRecord:
        """What a checkpoint says of it beside its tensors."""
        settings = asdict(self.settings) if self.settings is not None else {}
        return WrapperRecord(self.kind, self.version, self.base, self.inner.digest(), settings)

    def digest(self) -> str:
        return self.record.digest(digest_of_tensors(self.tensors()))


def wrap(name: str, victim: Victim, settings: Any, *, base: str) -> Wrapper:
    """The wrapper of this name around a victim, which is called `base`. Raises UserError where there is none."""
    row = wrapper_row(name)
    wrapper = row.build(victim, settings)
    wrapper.kind, wrapper.version, wrapper.base = name, row.version, base
    wrapper.freeze()
    return wrapper.eval().to(victim.device)


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """The digest of tensors by name, as numbers that a CPU has: bfloat16 as float32."""
    return digest_arrays({name: _as_array(tensor) for name, tensor in tensors.items()})


def _as_array(tensor: Tensor) -> np.ndarray[Any, Any]:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
