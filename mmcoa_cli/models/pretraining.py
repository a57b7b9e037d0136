"""Contrastive training of any open_clip architecture from scratch on class prompts: a stand-in for a real CLIP.

No caption corpus is needed: every image is paired with a prompt of its class, filled into varying templates with the
class's name or one of its synonyms. What comes out classifies its own dataset; it is labelled a stand-in everywhere.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from store.checkpoints import save_checkpoint
from store.datasets import Dataset
from store.errors import UserError
from store.files import lock, read_text
from store.keys import key_of

from ..datasets.library import open_classes
from ..datasets.pixels import HeldPixels, Pixels, load_pixels, to_unit
from ..datasets.prompts import class_prompts
from ..jobs.training_spec import PRECISIONS
from ..names import store_name
from ..randomness import keyed, shuffled
from ..settings import Home
from ..terminal.checks import not_negative, one_of, positive
from ..terminal.console import progress, say
from .clip import Clip
from .epochs import clip_files, epochs_in, number_of, resume, save_epoch
from .finite import require_finite_loss, require_finite_weights, smaller_lr
from .new_clip import VOCABULARY, new_clip
from .token_rows import require_distinct_prompts

VERSION = 1  # raise it when the same specification would give other weights
TEMPLATES = (
    "This is a photo of a {}",
    "a photo of a {}.",
    "a {}.",
    "a picture of the {}.",
    "an image of one {}",
    "a blurry photo of a {}.",
    "a drawing of a {}.",
    "the {} in a photo",
)
PROMPT_DRAWS = 2**62  # keys of the prompt draws, beyond every sample's
SAVE_EVERY = 60  # seconds: what a kill can cost
IN_MEMORY = 2**28  # bytes of training images that are read once, and not in every epoch
WARM_UP = 0.05  # the share of all steps in which the learning rate rises; it falls by a cosine afterwards

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PretrainSpec:
    """`config` is an open_clip architecture (the JSON of its model_configs); `lr` the peak learning rate."""

    name: str
    config: dict[str, Any]
    dataset: str
    epochs: int = 30
    batch_size: int = 128
    lr: float = 1e-3
    seed: int = 0
    precision: str = "fp32"
    flip: bool = False

    def __post_init__(self) -> None:
        if store_name(self.name) != self.name:
            raise UserError(f"{self.name!r} cannot be a name", hint=f"--name {store_name(self.name)}")
        for option, value in (("--epochs", self.epochs), ("--batch-size", self.batch_size), ("--lr", self.lr)):
            positive(option, value)
        not_negative("--seed", self.seed)
        one_of("--precision", self.precision, PRECISIONS)


def pretrain(spec: PretrainSpec, home: Home) -> Path:
    """Train the model into the store, under `spec.name`; returns its folder (an open_clip local folder).

    Goes on after the last whole epoch when it was interrupted; does nothing when it is there already. Raises UserError
    when another model has the name, and for an architecture that is none.
    """
    dataset = open_classes(spec.dataset, home)
    key = key_of(identity(spec, dataset))
    target, epochs = home.clips / spec.name, home.checkpoints / f"pretrain-{spec.name}-{key[:8]}"
    with lock(target, what=f"the model {spec.name}"):
        if target.exists():
            _expect_same(target, key)
            say(f"{spec.name} is in the store already")
            return target
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        clip = new_clip(spec.config, name=spec.name, seed=spec.seed).to(device).use_precision(spec.precision)
        _require_prompts(clip, dataset)
        _tell_tokenizer(spec.config, clip)
        _train(spec, clip, dataset, epochs)
        about = {"source": f"mmcoa pretrain on {spec.dataset}", "key": key}
        save_checkpoint(target, tensors=clip.tensors(), spec=about, files=clip_files(clip, source=about["source"]))
        shutil.rmtree(epochs, ignore_errors=True)
    return target


def identity(spec: PretrainSpec, dataset: Dataset) -> dict[str, Any]:
    """Everything that decides the model's weights."""
    info = dataset.info
    pixels = [info.checksum, info.pixel_size, info.resize]
    return {"version": VERSION, "spec": asdict(spec), "data": pixels, "prompts": _prompts(dataset)}


def read_architecture(path: Path) -> dict[str, Any]:
    """The open_clip architecture in a JSON file. Raises UserError when there is none."""
    try:
        config = json.loads(read_text(path))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", hint="--config ARCH.json") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON: {error}", hint="see open_clip's model_configs for examples") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no architecture", hint="see open_clip's model_configs for examples")
    return config


def _expect_same(target: Path, key: str) -> None:
    path = target / "spec.json"
    if not path.exists() or json.loads(path.read_text(encoding="utf8")).get("key") != key:
        raise UserError(f"another model is called {target.name} already", hint="choose another --name")


def _train(spec: PretrainSpec, clip: Clip, dataset: Dataset, folder: Path) -> None:
    labels, prompts, images = dataset.labels("train"), _prompts(dataset), _reader(dataset)
    steps = math.ceil(len(labels) / spec.batch_size)
    # fused: else a step reads each weight eight times, and most of a small model's are the embeddings of 49,408 tokens
    optimizer = torch.optim.AdamW(
        clip.parameters(), lr=spec.lr, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1, fused=True
    )
    done, saved = resume(folder, clip, optimizer, epochs=spec.epochs), time.monotonic()
    title, total = f"training {spec.name}", spec.epochs * len(labels)
    with progress(title, total=total, unit="images", done=done * len(labels)) as task:
        for epoch in range(done, spec.epochs):
            clip.model.train()  # from scratch, so BatchNorm learns its statistics
            order = shuffled(np.arange(len(labels)), spec.seed, epoch=epoch + 1)
            for number in range(epoch * steps, (epoch + 1) * steps):
                batch = order[number % steps * spec.batch_size :][: spec.batch_size]
                optimizer.param_groups[0]["lr"] = spec.lr * _schedule((number + 1) / (spec.epochs * steps))
                pixels = to_unit(_augmented(images(batch), batch, spec=spec, epoch=epoch), clip.device)
                loss = _loss(clip, pixels, labels[batch], prompts=prompts, rng=keyed(spec.seed, PROMPT_DRAWS + number))
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
                optimizer.step()
                with torch.no_grad():
                    clip.model.logit_scale.clamp_(max=math.log(100))
                shown = require_finite_loss(loss.item(), lr=spec.lr)
                task.advance(len(batch), note=f"epoch {epoch + 1}/{spec.epochs}, loss {shown:.3f}")
            clip.model.eval()
            require_finite_weights(clip.model, f"{spec.name} after epoch {epoch + 1}", hint=smaller_lr(spec.lr))
            if time.monotonic() - saved > SAVE_EVERY:
                save_epoch(folder, clip, optimizer, epoch=epoch + 1, spec={"name": spec.name})
                saved = time.monotonic()
                for earlier in epochs_in(folder):
                    if number_of(earlier) <= epoch:
                        shutil.rmtree(earlier)


def _schedule(progress: float) -> float:
    """The learning rate's share of its peak when `progress` (0 to 1) of the steps are done."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def _prompts(dataset: Dataset) -> list[list[str]]:
    """Every prompt of every class: each template with the class's name and with each synonym."""
    info = dataset.info
    names = [[name, *info.synonyms.get(name, ())] for name in info.class_names]
    return [[prompt for template in TEMPLATES for prompt in class_prompts(words, template)] for words in names]


def _tell_tokenizer(config: dict[str, Any], clip: Clip) -> None:
    """Say where the architecture was asked for with another tokenizer, or with fewer tokens than CLIP's has."""
    asked, built = config.get("model_cfg", config)["text_cfg"], clip.config["model_cfg"]["text_cfg"]
    named, words = asked.get("hf_tokenizer_name"), asked.get("vocab_size", VOCABULARY)
    if named or words < VOCABULARY:
        own = f"CLIP's own tokenizer, of {built.get('vocab_size', VOCABULARY):,} tokens"
        say(f"{clip.name} reads texts by {own}, and not by {named or f'one of {words:,}'}")


def _require_prompts(clip: Clip, dataset: Dataset) -> None:
    """Raises UserError where the architecture cannot see a prompt whole, or tell two classes apart by their names."""
    names, longer = dataset.info.class_names, 'a greater "context_length" in the architecture, or shorter class names'
    for template in TEMPLATES:
        require_distinct_prompts(clip, class_prompts(names, template), names, where_cut=longer)


def _reader(dataset: Dataset) -> Callable[[Ints], Pixels]:
    """What reads training images by their numbers: once, where all of them take little memory."""
    count = len(dataset.labels("train"))
    if 3 * count * dataset.info.pixel_size**2 <= IN_MEMORY:
        return HeldPixels(dataset, "train", np.arange(count))
    return partial(load_pixels, dataset, "train")


def _augmented(pixels: Pixels, batch: Ints, *, spec: PretrainSpec, epoch: int) -> Pixels:
    """The batch's images, each shifted by up to a sixteenth of its side (and mirrored, where that is asked for)."""
    size, margin = pixels.shape[1], pixels.shape[1] // 16
    if not margin and not spec.flip:
        return pixels
    padded = np.pad(pixels, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="edge")
    for i, index in enumerate(batch):
        rng = keyed(spec.seed, int(index), epoch=epoch + 1)
        top, left = rng.integers(0, 2 * margin + 1, size=2)
        image = padded[i, top : top + size, left : left + size]
        pixels[i] = image[:, ::-1] if spec.flip and rng.random() < 0.5 else image
    return pixels


def _loss(clip: Clip, images: Tensor, labels: Ints, *, prompts: list[list[str]], rng: np.random.Generator) -> Tensor:
    """The images against one prompt, drawn by `rng`, of each class that is among them."""
    classes, own = np.unique(labels, return_inverse=True)
    texts = [prompts[k][int(rng.integers(len(prompts[k])))] for k in classes]
    image_features, text_features, tau = clip(images, clip.tokenize(texts))
    return supervised_contrastive(tau * image_features @ text_features.T, torch.from_numpy(own).to(images.device))


def supervised_contrastive(logits: Tensor, labels: Tensor) -> Tensor:
    """Contrastive pre-training on class prompts: logits (B, U) of images against the U prompts present in the batch,
    labels (B,) in 0..U-1 -> scalar. Image to text: CE. Text to image: all images of the class share the target."""
    to_images = logits.T.log_softmax(dim=1)
    belongs = F.one_hot(labels, logits.shape[1]).T.to(logits.dtype)
    shared = belongs / belongs.sum(dim=1, keepdim=True).clamp_min(1)
    return (F.cross_entropy(logits, labels) - (shared * to_images).sum(dim=1).mean()) / 2
