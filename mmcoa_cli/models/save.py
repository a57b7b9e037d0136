"""Take over models of others: only data, and only after it has loaded and computed something.

A CLIP becomes open_clip_config.json with open_clip_model.safetensors, a masked LM Hugging Face's config, safetensors
and tokenizer. `source.json` beside them says where it comes from and what was understood. Code is left behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from store.errors import UserError
from store.files import replacing
from store.keys import digest_file

from .architectures import first_line
from .clip import Clip, load_clip
from .digests import CLIP_CONFIG, has_own_tokenizer, model_digest, read_json, record_of
from .foreign_code import VOCABULARIES
from .intake import Request, take
from .masked_lm import MaskedLM, load_masked_lm
from .mlm_checks import require_head
from .origins import OWN, PUBLISHED, RECORD, Origin, Record, read_record
from .published import openai_source
from .weights.files import open_weights

MLM_WEIGHTS = "model.safetensors"
TOKENIZER_FILES = (
    *VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt",
)  # fmt: skip
_PREFERRED = (
    "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors",
    "open_clip_pytorch_model.bin", "pytorch_model.bin",
)  # fmt: skip
_FOREIGN = (".bin", ".pt", ".pth", ".ckpt", ".pth.tar", ".pt.tar")
AGREE = "its configuration, its tokenizer and its weights have to be of one model"
TRIAL = ("a photo of a cat", "an image")


def choose_clip_files(names: Sequence[str]) -> list[str]:
    """Choose a CLIP's files: the weights, the configuration if there is one, the tokenizer's. Raises UserError."""
    theirs = () if CLIP_CONFIG in names else ("config.json", "preprocessor_config.json")
    return [choose_weights(names), *(n for n in (CLIP_CONFIG, *theirs, *TOKENIZER_FILES) if n in names)]


def choose_mlm_files(names: Sequence[str]) -> list[str]:
    """Choose a masked LM's files: the weights, the configuration and the tokenizer's. Raises UserError."""
    for needed in (MLM_WEIGHTS, "config.json"):
        if needed not in names:
            raise UserError(f"it has no {needed}", hint="save it with save_pretrained(folder), which writes both")
    if not any(vocabulary in names for vocabulary in VOCABULARIES):  # transformers would make up an empty one
        raise UserError("it has no tokenizer", hint="save the tokenizer into the same folder, with save_pretrained")
    return [MLM_WEIGHTS, "config.json", *(name for name in TOKENIZER_FILES if name in names)]


def save_clip(request: Request, weights: Path, target: Path, *, origin: Origin, asked: Mapping[str, str]) -> None:
    """Write the CLIP of a request to the folder `target`. Raises UserError for none that computes."""
    with replacing(target) as folder:
        folder.mkdir()
        understood = take(request, weights, folder)
        if has_own_tokenizer(read_json(folder / CLIP_CONFIG)):
            _copy(_tokenizer_of(weights.parent), folder)
        clip = load_clip(folder, name=request.name)
        understood = _about_clip(clip) | understood
        _write_record(folder, name=request.name, origin=origin, asked=asked, understood=understood)


def save_mlm(files: Sequence[Path], target: Path, *, name: str, origin: Origin, asked: Mapping[str, str]) -> None:
    """Write a masked LM, given by the files of `choose_mlm_files`, to the folder `target`. Raises UserError."""
    with open_weights(files[0]):
        pass  # it is whole
    with replacing(target) as folder:
        folder.mkdir()
        _copy(files, folder)
        mlm = load_masked_lm(folder, name=name)
        require_head(folder, name=name)
        _require_predictions(mlm)
        config = mlm.model.config
        understood = {
            "architecture": f"{config.model_type}, {getattr(config, 'num_hidden_layers', '?')} layers",
            "parameters": sum(weight.numel() for weight in mlm.model.parameters()),
            "words": len(mlm.tokenizer),
        }
        _write_record(folder, name=name, origin=origin, asked=asked, understood=understood)


def local_origin(source: Path, weights: Path) -> Origin:
    """Say where a file of this machine is from: as the record of its folder says, if that is of these very weights; as
    OpenAI published it; or else the user's own."""
    if not weights.is_file():  # a pipe would be waited for
        raise UserError(f"{weights.name} is no regular file", hint="--from takes a folder or a file of weights")
    sha256 = digest_file(weights)
    record = weights.parent / RECORD
    if record.is_file():
        about, said = read_json(record), read_record(weights.parent)
        if sha256 in (said.files.get(weights.name), about.get("sha256")):
            return said.origin
    if address := openai_source(sha256):
        return Origin(PUBLISHED, address)
    return Origin(OWN, str(source.absolute()), sha256)


def choose_weights(names: Sequence[str]) -> str:
    """Choose the one file of weights among names. Raises UserError for none or several."""
    safe = [name for name in names if name.endswith(".safetensors")]
    foreign = [name for name in names if name.endswith(_FOREIGN)]
    if any(name.endswith(".safetensors.index.json") for name in names):
        raise UserError("its weights are in several files", hint="save them as one: max_shard_size='100GB'")
    for preferred in _PREFERRED:
        if preferred in (*safe, *(foreign if not safe else ())):
            return preferred
    for found in (safe, foreign):
        if len(found) == 1:
            return found[0]
    raise UserError(
        "it holds more than one file of weights" if safe or foreign else "it holds no weights",
        hint="give --from the file of weights itself",
    )


@torch.no_grad()
def _about_clip(clip: Clip) -> dict[str, Any]:
    """Describe a CLIP after both encoders have computed something. Raises UserError unless that is finite and of one
    shape."""
    try:
        images = clip.encode_images(torch.full((1, 3, clip.image_size, clip.image_size), 0.5))
        texts = clip.embed_texts(TRIAL)
    except (RuntimeError, IndexError, ValueError, TypeError, AssertionError, AttributeError) as error:
        raise UserError(f"{clip.name} does not compute: {first_line(error)}", hint=AGREE) from error
    for what, features, rows in (("image", images, 1), ("text", texts, len(TRIAL))):
        if features.shape != (rows, images.shape[-1]) or not features.isfinite().all():
            raise UserError(
                f"the {what} encoder of {clip.name} gives no finite numbers of one shape",
                hint=AGREE,
            )
    model = clip.config["model_cfg"]
    return {
        "architecture": in_words(model),
        "parameters": sum(weight.numel() for weight in clip.parameters()),
        "image_size": clip.image_size,
        "context_length": model["text_cfg"].get("context_length", 77),
        "embed_dim": images.shape[-1],
    }


def _require_predictions(mlm: MaskedLM) -> None:
    """Raises UserError unless a masked LM predicts words for a text."""
    try:
        (prediction, *_) = mlm.predict(TRIAL, max_tokens=None, k=1)
        finite = bool(prediction.scores.isfinite().all())
    except (RuntimeError, IndexError, ValueError, TypeError, OverflowError, AttributeError, KeyError) as error:
        raise UserError(f"{mlm.name} does not compute: {first_line(error)}", hint=AGREE) from error
    if not finite:
        raise UserError(f"{mlm.name} gives no finite numbers", hint=AGREE)


def in_words(model: Mapping[str, Any]) -> str:
    """The architecture of open_clip's `model_cfg`: "ViT of 12 layers, width 768, ..."."""
    vision, text = model["vision_cfg"], model["text_cfg"]
    if vision.get("timm_model_name"):
        image = f"timm's {vision['timm_model_name']}"
    elif isinstance(vision.get("layers", 12), list):
        image = f"ResNet of {'-'.join(map(str, vision['layers']))} blocks, width {vision.get('width', 64)}"
    else:
        layers, width, patch = vision.get("layers", 12), vision.get("width", 768), vision.get("patch_size", 16)
        image = f"ViT of {layers} layers, width {width}, patches of {patch}"
    return f"{image}; text of {text.get('layers', 12)} layers, width {text.get('width', 512)}"


def _tokenizer_of(folder: Path) -> list[Path]:
    """Find the files of a CLIP's own tokenizer; leave out a binary one where the text it became is there."""
    found = [path for path in folder.iterdir() if path.name in TOKENIZER_FILES]
    text = any(path.name == "tokenizer.json" for path in found)
    return [path for path in found if not (text and path.name.endswith(".model"))]


def _copy(files: Sequence[Path], folder: Path) -> None:
    for path in files:
        if not path.is_file():
            raise UserError(f"{path.name} is no regular file", hint="copy the model's folder again")
        shutil.copyfile(path, folder / path.name)


def _write_record(
    folder: Path, *, name: str, origin: Origin, asked: Mapping[str, str], understood: Mapping[str, Any]
) -> None:
    digest = model_digest(folder, name=name)
    record = Record(name, origin, record_of(folder), asked, {**understood, "digest": digest})
    (folder / RECORD).write_text(record.text(), encoding="utf8")
    shutil.rmtree(folder / ".verified", ignore_errors=True)  # of files that will have another place
