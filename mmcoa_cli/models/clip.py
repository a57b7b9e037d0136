"""CLIP as the paper writes it: f (images) and g (texts) on the unit sphere, and a temperature.

`Clip` wraps any open_clip model. Its images are pixels in [0, 1] at the size they are attacked at; the bicubic resize
to the encoder's input and the normalisation belong to the model, so that gradients reach the pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from store.errors import UserError

from .architectures import NO_MODEL, first_line, shapes_of
from .compiled import CompiledWhereItPays, compiled_twin
from .digests import (
    CLIP_CONFIG,
    WEIGHTS,
    content_of,
    digest_of,
    digest_of_config,
    fetch_again,
    files_of,
    has_own_tokenizer,
    read_json,
    verify,
    weights_of,
)
from .dtensors import full_tensor, is_dtensor
from .fast_vit import patch_of, quicken, resize_matrix
from .foreign_code import VOCABULARIES, check_tokenizer, forbid_foreign_code
from .origins import Origin, read_record
from .texts import features_once, takes_short_texts, text_features
from .tokens import Row, stacked, tokens_of
from .undrawn import Undrawn
from .victim import Victim, digest_of_tensors
from .weights.files import open_weights
from .weights.fitting import fit, misfit

forbid_foreign_code()

PLAIN = (open_clip.CLIP, open_clip.CustomTextCLIP)  # models that encode an image by `visual` alone


class Clip(Victim):
    """An open_clip model between pixels, strings and embeddings.

    `config` is the content of open_clip_config.json: `model_cfg` and `preprocess_cfg`. `tokenizer_files` are the
    texts of a tokenizer that is not open_clip's own, by the names of their files, and `digests` what counts of them.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        config: dict[str, Any],
        origin: Origin,
        tokenizer_files: Mapping[str, str] | None = None,
        digests: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.model = model.eval()  # frozen BatchNorm statistics and no dropout: in attacks, fine-tuning and evaluation
        self.tokenizer = tokenizer
        self.name, self.config, self.origin = name, config, origin
        self.tokenizer_files, self._digests = dict(tokenizer_files or {}), dict(digests or {})
        self.runs_in = "fp32"
        self._encode_image = self.model.encode_image
        self._resizes: dict[tuple[int, int], Tensor] = {}
        preprocess = open_clip.get_model_preprocess_cfg(model)
        self.image_size = self.side = _side(preprocess["size"], name)  # the side is what images are resized to for now
        for statistic in ("mean", "std"):
            value = torch.tensor(preprocess[statistic], dtype=torch.float32).view(3, 1, 1)
            self.register_buffer(statistic, value, persistent=False)
        quicken(self.model.visual)

    @property
    def clip(self) -> Clip:
        """Itself: what is inside all wrappers."""
        return self

    def encoder_input(self, images: Tensor) -> Tensor:
        """Pixels in [0, 1], (B, 3, S, S) -> what the image encoder takes: resized and normalised."""
        if images.shape[-1] != self.side:
            resize = self._resize_matrix(images.shape[-1])
            images = resize @ images @ resize.T
        return (images - self.mean) / self.std

    def input_features(self, inputs: Tensor) -> Tensor:
        """What the image encoder takes -> features (B, D)."""
        with self._autocast():
            features: Tensor = self._encode_image(inputs)
        return features.float()

    def compile_where_it_pays(self, *, quiet: bool = False) -> None:
        """In a long attack encode images as `torch.compile` has it, if that is quicker: the same up to rounding."""
        if type(self.model) in PLAIN:
            self._encode_image = CompiledWhereItPays(self.model.visual, quiet=quiet)

    def compiled(self) -> Clip:
        """The same with its image encoder compiled for gradients of pixels alone."""
        twin = copy.copy(self)
        twin._encode_image = compiled_twin(self.model.visual)
        return twin

    def pixels_alone(self) -> AbstractContextManager[None]:
        """Inside, of what depends on pixels and weights nothing but the pixels' gradient is asked for."""
        quick = self._encode_image
        return quick.pixels_alone() if isinstance(quick, CompiledWhereItPays) else nullcontext()

    def _resize_matrix(self, side: int) -> Tensor:
        sizes = (self.side, side)
        if sizes not in self._resizes:
            self._resizes[sizes] = resize_matrix(*sizes, device=self.device)
        return self._resizes[sizes].to(self.device)

    def see(self, share: float = 1.0) -> int:
        """Take images of this share of the usual side from now on, of whole patches, where the encoder can; the side
        that it takes."""
        patch = patch_of(self.model.visual)
        if patch is not None:
            self.side = max(1, round(share * self.image_size / patch)) * patch if share != 1 else self.image_size
        return self.side

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """g: tokens (K, L) as `tokenize` gives them -> unit embeddings (K, D).

        Without gradients any number of texts in bounded memory: equal rows of tokens are encoded once, and so is what
        rows have in common, where the text encoder allows.
        """
        with self._autocast():
            if torch.is_grad_enabled():
                features = text_features(self.model, tokens)
            else:
                # a tree takes the weights of blocks by hand: of divided ones no process has them all
                trees = self.precision == "fp32" and not any(is_dtensor(weight) for weight in self.parameters())
                features = features_once(self.model, tokens, trees=trees)
        return F.normalize(features.float(), dim=-1)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Strings -> tokens (K, L), L the longest text's length: with a causal mask, padding changes nothing."""
        return stacked(self._tokens(texts)).to(self.device)

    def token_rows(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Each text as the model sees it: its tokens, where the first end of text is what is read up to there."""
        return [tuple(row.tolist()) for row in self._tokens(texts)]

    def _tokens(self, texts: Sequence[str]) -> list[Row]:
        return tokens_of(texts, self.tokenizer, short=takes_short_texts(self.model))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def digest(self) -> str:
        """The hash of the weights and of everything that turns pixels and strings into embeddings; that of the folder
        it was loaded from (`model_digests.model_digest`) until a weight changes."""
        return digest_of(
            digest_of_tensors(self.model.state_dict()), {CLIP_CONFIG: digest_of_config(self.config), **self._digests}
        )

    def tensors(self) -> dict[str, Tensor]:
        """The weights as open_clip names them, on the CPU: what a checkpoint stores. Every process asks, where they are
        divided among several."""
        return {name: full_tensor(tensor) for name, tensor in self.model.state_dict().items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the weights of a checkpoint."""
        self.model.load_state_dict(dict(tensors))

    def freeze(self, tune: str) -> None:
        """Leave only the weights that `tune` (both, image, text) names trainable."""
        for name, weight in self.model.named_parameters():
            of_image_encoder = name.startswith("visual.")
            weight.requires_grad_(tune == "both" or of_image_encoder == (tune == "image"))


def load_clip(folder: Path, *, name: str) -> Clip:
    """The model in an open_clip local folder (open_clip_config.json and safetensors), on the CPU in float32.

    Raises UserError when the folder does not hold one, or not the one that was fetched.
    """
    config = _read_json(folder / CLIP_CONFIG, name)
    verify(folder, name=name)
    weights = weights_of(folder)
    if weights is None:
        raise UserError(f"{name} has no weights in safetensors format", hint=fetch_again(folder, name))
    shapes = shapes_of(config, name=name)
    with open_weights(weights, title=f"{weights.name} of {name}", hint=fetch_again(folder, name)) as opened:
        if reason := misfit(fit(opened, shapes), shapes):
            raise UserError(
                f"the weights of {name} are not its architecture's: {reason}", hint=fetch_again(folder, name)
            )
    files, digests = _tokenizer_files(folder, config, name=name)
    try:
        with Undrawn():  # `shapes` are all in the file
            model = open_clip.create_model(f"local-dir:{folder}", precision="fp32")
        text = config["model_cfg"]["text_cfg"]
        tokenizer = (
            open_clip.get_tokenizer(f"local-dir:{folder}", trust_remote_code=False)
            if files
            else clips_tokenizer(text.get("context_length", 77), **(text.get("tokenizer_kwargs") or {}))
        )
    except UserError:
        raise
    except Exception as error:  # the tokenizers library raises no other class
        raise _not_loaded(folder, name, error) from error
    try:
        origin = read_record(folder).origin
        return Clip(model, tokenizer, name=name, config=config, origin=origin, tokenizer_files=files, digests=digests)
    except NO_MODEL as error:
        raise _not_loaded(folder, name, error) from error


@lru_cache(maxsize=8)
def clips_tokenizer(context_length: int, **settings: Any) -> Any:
    """CLIP's own tokenizer, made once in a process: reading its list of merges takes 0.1 s."""
    return open_clip.SimpleTokenizer(context_length=context_length, **settings)


def _not_loaded(folder: Path, name: str, error: BaseException) -> UserError:
    return UserError(f"{name} cannot be loaded: {first_line(error)}", hint=fetch_again(folder, name))


def _tokenizer_files(folder: Path, config: dict[str, Any], *, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """The texts of the files of a tokenizer that is not open_clip's own, and what counts of them."""
    if not has_own_tokenizer(config):
        return {}, {}
    paths = {
        file: path for file, path in files_of(folder).items() if not file.endswith(WEIGHTS) and file != CLIP_CONFIG
    }
    if not any(vocabulary in paths for vocabulary in VOCABULARIES):
        of = str(config["model_cfg"]["text_cfg"]["hf_tokenizer_name"])[:80]
        raise UserError(
            f"{name} has no tokenizer: it reads texts by that of {of!r}, not by CLIP's own",
            hint="put tokenizer.json and tokenizer_config.json of that beside its weights",
        )
    check_tokenizer(paths, name=name)
    try:
        texts = {file: path.read_text(encoding="utf8") for file, path in paths.items()}
    except ValueError as error:
        raise UserError(
            f"a file of the tokenizer of {name} is no text: {first_line(error)}",
            hint="save the tokenizer with save_pretrained, which writes tokenizer.json",
        ) from error
    return texts, {file: content_of(path) for file, path in paths.items()}


def _read_json(path: Path, name: str) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{name} is not in the store", hint=f"mmcoa fetch {name}")
    document = read_json(path)
    if not isinstance(document, dict):
        raise UserError(f"{path.name} of {name} is damaged", hint=fetch_again(path.parent, name))
    return document


def _side(size: Any, name: str) -> int:
    """The side of the encoder's images. Raises UserError for a size that is no square's."""
    sides = set(size) if isinstance(size, (list, tuple)) else {size}
    if len(sides) != 1:
        shown = " x ".join(map(str, size))
        raise UserError(
            f"{name} takes images of {shown} pixels", hint="mmcoa attacks square images; take a square model"
        )
    return int(sides.pop())
