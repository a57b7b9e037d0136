"""A victim with open_clip's spelling, and an open_clip model as a victim."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import Tensor, nn

from store.errors import UserError

from .clip import Clip, clips_tokenizer
from .origins import OWN, Origin
from .precision import computing_in
from .victim import Victim

NEEDED = ("encode_image", "encode_text", "logit_scale", "visual")


class Model(nn.Module):
    """A run's model as open_clip's functions are called. Images are what `preprocess` gives, texts what `tokenizer`
    gives. Of a run that is a prompt or a defence around a model, they are computed through it, and its text features
    have unit length."""

    def __init__(self, victim: Victim, *, run: str) -> None:
        super().__init__()
        self.victim, self.run = victim, run
        settings = PreprocessCfg(**open_clip.get_model_preprocess_cfg(self.open_clip))
        self.preprocess = image_transform_v2(settings, is_train=False)

    @property
    def open_clip(self) -> Any:
        """The open_clip model itself, inside all that may stand around it."""
        return self.victim.clip.model

    @property
    def visual(self) -> Any:
        return self.open_clip.visual

    @property
    def logit_scale(self) -> Any:
        return self.open_clip.logit_scale

    @property
    def tokenizer(self) -> Any:
        """Strings -> tokens (K, context length)."""
        return self.victim.tokenizer

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Preprocessed images (B, 3, side, side) -> features (B, D)."""
        clip = self.victim.clip
        if clip is self.victim:
            features = clip.input_features(image)
        else:
            features = self.victim.image_features(image * clip.std + clip.mean)
        return F.normalize(features, dim=-1) if normalize else features

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """Tokens (K, context length) -> features (K, D)."""
        if self.victim.clip is not self.victim or normalize:
            return self.victim.encode_texts(text)
        features: Tensor = self.open_clip.encode_text(text)
        return features

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit features of both, and the factor of their cosines."""
        return self.encode_image(image, normalize=True), self.encode_text(text, normalize=True), self.logit_scale.exp()


@contextmanager
def evaluating(model: Any, tokenizer: Any = None, *, precision: str = "fp32") -> Iterator[Victim]:
    """What is inside a `Model`, or any model of open_clip as a victim, on its device; in evaluation mode and in this
    precision as long as the block lasts. Raises UserError for what is neither."""
    _require_model(model)
    training = [part for part in model.modules() if part.training]
    classes = [(part, type(part)) for part in model.modules()]  # a victim's image encoder is made quicker
    try:
        victim = model.victim if isinstance(model, Model) else _clip(model, tokenizer)
        model.eval()
        with computing_in(victim, precision):
            yield victim
    finally:
        for part in training:
            part.training = True
        for part, its_class in classes:
            part.__class__ = its_class


def _require_model(model: Any) -> None:
    """Raises UserError for what is no model of open_clip."""
    lacking = [name for name in NEEDED if not hasattr(model, name)]
    if not isinstance(model, nn.Module) or lacking:
        what = f"it has no {lacking[0]}" if lacking else "it is no module"
        raise UserError(
            f"this is no model of open_clip: {what}", hint="open_clip.create_model(...), or mmcoa.load(RUN)"
        )
    weight = next(model.parameters())
    if weight.dtype is not torch.float32:
        raise UserError(f"the model's weights are {weight.dtype}", hint="model.float(), and precision='bf16'")


def _clip(model: Any, tokenizer: Any) -> Clip:
    name = type(model).__name__
    clip = Clip(model, tokenizer or _tokenizer(model), name=name, config={"model_cfg": {}}, origin=Origin(OWN))
    return clip.to(next(model.parameters()).device)


def _tokenizer(model: Any) -> Any:
    """CLIP's own, of a model whose vocabulary that is."""
    length = getattr(model, "context_length", None)
    if length is None or getattr(model, "vocab_size", None) != (own := clips_tokenizer(length)).vocab_size:
        raise UserError("the model does not say which tokenizer it has", hint="tokenizer=open_clip.get_tokenizer(NAME)")
    return own
