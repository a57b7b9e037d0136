"""The layouts that a model can be handed on in: one row each. Importing this module loads nothing heavy."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..models.clip import Clip


@dataclass(frozen=True)
class Layout:
    """A layout is named as the library that loads it. `write` puts a model's files into a folder that is there, for a
    repository of the hub where one is named; `loading` is the code that loads it, with its place as {place}."""

    name: str
    title: str
    write: Callable[[Clip, Path, str], None]
    loading: str
    local: str = "{place}"  # how the code names a folder of this machine
    hub: str = "{place}"  # and a repository


def _open_clip(clip: Clip, folder: Path, repository: str) -> None:
    from store.checkpoints import save_tensors

    config = json.loads(json.dumps(clip.config))
    if repository and config["model_cfg"]["text_cfg"].get("hf_tokenizer_name"):  # its files lie beside it there
        config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = repository
    save_tensors(clip.tensors(), folder / "open_clip_model.safetensors")
    for name, text in {"open_clip_config.json": json.dumps(config, indent=2), **clip.tokenizer_files}.items():
        (folder / name).write_text(text, encoding="utf8")


def _transformers(clip: Clip, folder: Path, _: str) -> None:
    from ..models.to_transformers import save_transformers

    save_transformers(clip, folder)


LAYOUTS = {
    "open_clip": Layout(
        "open_clip",
        "what open_clip loads, from a folder and from the hub",
        _open_clip,
        """\
import open_clip
import torch
from PIL import Image

model, preprocess = open_clip.create_model_from_pretrained("{place}")
tokenizer = open_clip.get_tokenizer("{place}")
image = preprocess(Image.open("image.png").convert("RGB"))[None]
texts = tokenizer({prompts})
with torch.no_grad():
    x, t = model.encode_image(image, normalize=True), model.encode_text(texts, normalize=True)
    print((model.logit_scale.exp() * x @ t.T).softmax(dim=-1))
""",
        local="local-dir:{place}",
        hub="hf-hub:{place}",
    ),
    "transformers": Layout(
        "transformers",
        "a CLIPModel with its CLIPProcessor",
        _transformers,
        """\
import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

model, processor = CLIPModel.from_pretrained("{place}"), CLIPProcessor.from_pretrained("{place}")
image = Image.open("image.png").convert("RGB")
inputs = processor(text={prompts}, images=image, return_tensors="pt", padding=True)
with torch.no_grad():
    print(model(**inputs).logits_per_image.softmax(dim=-1))
""",
    ),
}
