"""CLIP as the paper writes it: f (images) and g (texts) on the unit sphere, and a temperature.

`Clip` wraps any open_clip model. Its images are pixels in [0, 1] at the size they are attacked at; the bicubic resize
to the encoder's input and the normalisation belong to the model, so that gradients reach the pixels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from store.errors import UserError
from store.keys import digest_arrays, key_of

TEXT_BATCH = 512
# what open_clip and torch raise for a configuration or weights that make no model
NO_MODEL = (
    RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, OSError,
    SafetensorError,
)  # fmt: skip


class Clip(nn.Module):
    """An open_clip model between pixels, strings and embeddings.

    `config` is the content of open_clip_config.json: `model_cfg` and `preprocess_cfg`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any, tokenizer: Any, *, name: str, config: dict[str, Any], stand_in: bool) -> None:
        super().__init__()
        self.model = model.eval()  # frozen BatchNorm statistics and no dropout: in attacks, fine-tuning and evaluation
        self.tokenizer = tokenizer
        self.name, self.config, self.stand_in = name, config, stand_in
        self.precision = "fp32"
        self._resizes: dict[int, Tensor] = {}
        preprocess = open_clip.get_model_preprocess_cfg(model)
        size = preprocess["size"]
        self.image_size = int(size[0] if isinstance(size, Sequence) else size)
        for statistic in ("mean", "std"):
            value = torch.tensor(preprocess[statistic], dtype=torch.float32).view(3, 1, 1)
            self.register_buffer(statistic, value, persistent=False)

    @property
    def scale(self) -> Tensor:
        """exp(logit_scale), the factor of the cosines: a scalar."""
        scale: Tensor = self.model.logit_scale.exp()
        return scale

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def encode_images(self, images: Tensor) -> Tensor:
        """f: pixels in [0, 1], (B, 3, S, S) of any S -> unit embeddings (B, D)."""
        if images.shape[-1] != self.image_size:
            resize = self._resize_matrix(images.shape[-1])
            images = resize @ images @ resize.T
        with self._autocast():
            features = self.model.encode_image((images - self.mean) / self.std)
        return F.normalize(features.float(), dim=-1)

    def _resize_matrix(self, side: int) -> Tensor:
        """torch's bicubic resize as a matrix (image_size, side): unlike `interpolate` its gradient on a GPU adds in a
        fixed order, so that an attack comes out the same every time."""
        if side not in self._resizes:
            unit = torch.eye(side, device=self.device)[None, None]
            size, shrinks = (self.image_size, side), side > self.image_size
            resize = F.interpolate(unit, size, mode="bicubic", align_corners=False, antialias=shrinks)
            self._resizes[side] = resize[0, 0]
        return self._resizes[side].to(self.device)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """g: tokens (K, L) as `tokenize` gives them -> unit embeddings (K, D)."""
        encode = _encode_short_texts if self._takes_short_texts else type(self.model).encode_text
        with self._autocast():
            features = encode(self.model, tokens)
        return F.normalize(features.float(), dim=-1)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Strings -> tokens (K, L), L the longest text's length: with a causal mask, padding changes nothing."""
        tokens: Tensor = self.tokenizer(list(texts))
        if self._takes_short_texts:
            tokens = tokens[:, : int(tokens.argmax(dim=1).max()) + 1]
        return tokens.to(self.device)

    def token_rows(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Each text as the model sees it: its tokens, where the first end of text is what is read up to there."""
        tokens: Tensor = self.tokenizer(list(texts))
        rows, ends = tokens.tolist(), tokens.argmax(dim=1).tolist()
        return [tuple(row[: end + 1] if self._takes_short_texts else row) for row, end in zip(rows, ends, strict=True)]

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """g of any number of strings, in batches, without gradients: (n, D)."""
        batches = [texts[i : i + TEXT_BATCH] for i in range(0, len(texts), TEXT_BATCH)]
        return torch.cat([self.encode_texts(self.tokenize(batch)) for batch in batches])

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both encoders and the scale in one call, as distributed training needs it: (B, D), (K, D), scalar."""
        return self.encode_images(images), self.encode_texts(tokens), self.scale

    def use_precision(self, precision: str) -> Clip:
        """Run both encoders in "fp32" or "bf16" from now on; pixels, embeddings, losses and weights stay float32.

        Raises UserError for bf16 on a CPU that has no instructions for it, where it is hundreds of times slower.
        """
        if precision == "bf16" and self.device.type == "cpu" and not _cpu_computes_bf16():
            raise UserError("this CPU has no bf16 instructions", hint="--precision fp32")
        self.precision = precision
        return self

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def digest(self) -> str:
        """The hash of the weights and of everything that turns pixels and strings into embeddings."""
        weights = {name: _as_array(tensor) for name, tensor in self.model.state_dict().items()}
        return key_of({"weights": digest_arrays(weights), "config": self.config, "image_size": self.image_size})

    def tensors(self) -> dict[str, Tensor]:
        """The weights as open_clip names them, on the CPU: what a checkpoint stores."""
        return {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.state_dict().items()}

    @property
    def _takes_short_texts(self) -> bool:
        causal = isinstance(self.model, open_clip.CLIP) and self.model.attn_mask is not None
        return causal and self.model.text_pool_type == "argmax"


def _cpu_computes_bf16() -> bool:
    probes = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(probe() for probe in probes if probe is not None)


def _encode_short_texts(model: Any, tokens: Tensor) -> Tensor:
    """open_clip's `CLIP.encode_text` for L tokens instead of the whole context (tested to be equal)."""
    length = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x)[torch.arange(len(tokens), device=tokens.device), tokens.argmax(dim=-1)]
    if model.text_projection is not None:
        x = model.text_projection(x) if isinstance(model.text_projection, nn.Linear) else x @ model.text_projection
    features: Tensor = x
    return features


def load_clip(folder: Path, *, name: str) -> Clip:
    """The model in an open_clip local folder (open_clip_config.json and safetensors), on the CPU in float32.

    Raises UserError when the folder does not hold one.
    """
    config = _read_json(folder / "open_clip_config.json", name)
    about = _read_json(folder / "source.json", name) if (folder / "source.json").exists() else {}
    if not _has_safetensors(folder):
        raise UserError(f"{name} has no weights in safetensors format", hint=f"fetch it again: mmcoa fetch {name}")
    if "trust_remote_code" in json.dumps(config):
        raise UserError(f"{name} asks to run code of its own, which is never done", hint="use another model")
    try:
        own_tokenizer = config["model_cfg"]["text_cfg"].get("hf_tokenizer_name")
        trust = {"trust_remote_code": False} if own_tokenizer else {}  # else transformers asks on the terminal
        model = open_clip.create_model(f"local-dir:{folder}", precision="fp32")
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}", **trust)
        return Clip(model, tokenizer, name=name, config=config, stand_in=bool(about.get("stand_in", True)))
    except NO_MODEL as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(f"{name} cannot be loaded: {reason}", hint=f"fetch it again: mmcoa fetch {name}") from error


def _has_safetensors(folder: Path) -> bool:
    """Whether safetensors are what open_clip will load: it prefers a pickle to safetensors under another name."""
    names = {path.name for path in folder.glob("*.safetensors")}
    preferred = {"open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"}
    pickles = [*folder.glob("*.bin"), *folder.glob("*.pth")]
    return bool(names & preferred) or (bool(names) and not pickles)


def new_clip(config: dict[str, Any], *, name: str, seed: int) -> Clip:
    """A CLIP with random weights: `config` is an open_clip architecture, alone or under `model_cfg`."""
    config = config if "model_cfg" in config else {"model_cfg": config}
    torch.manual_seed(seed)
    try:
        settings = dict(config["model_cfg"])
        kind = open_clip.CustomTextCLIP if settings.pop("custom_text", False) else open_clip.CLIP
        model = kind(**settings)
        config = {**config, "preprocess_cfg": _preprocess_of(model, config.get("preprocess_cfg", {}))}
        open_clip.set_model_preprocess_cfg(model, config["preprocess_cfg"])
        tokenizer = open_clip.SimpleTokenizer(context_length=int(settings["text_cfg"].get("context_length", 77)))
        return Clip(model, tokenizer, name=name, config=config, stand_in=True)
    except NO_MODEL as error:
        raise UserError(
            f"this is no open_clip architecture: {error}", hint='it needs "embed_dim", "vision_cfg" and "text_cfg"'
        ) from error


def _preprocess_of(model: Any, given: dict[str, Any]) -> dict[str, Any]:
    return {
        "size": model.visual.image_size,
        "mean": list(open_clip.OPENAI_DATASET_MEAN),
        "std": list(open_clip.OPENAI_DATASET_STD),
        "interpolation": "bicubic",
        **given,
    }


def _as_array(tensor: Tensor) -> np.ndarray[Any, Any]:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _read_json(path: Path, name: str) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError:
        raise UserError(f"{name} is not in the store", hint=f"mmcoa fetch {name}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path.name} of {name} is damaged: {error}", hint=f"mmcoa fetch {name}") from error
    if not isinstance(document, dict):
        raise UserError(f"{path.name} of {name} is damaged", hint=f"mmcoa fetch {name}")
    return document
