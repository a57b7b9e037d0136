"""A short measurement of this machine: the operations that training runs and tests are made of, a second each.

Each is timed with a batch that doubles while there is time, so that an accelerator is measured at the batch size it
will work with, and a slow machine with an image or two, whose time is then multiplied.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import psutil  # type: ignore[import-untyped]
import torch
from torch import Tensor

from ..attacks.bert_attack import attack_prompts, prepare
from ..attacks.pgd import pgd
from ..attacks.settings import BertAttackSettings, PgdSettings
from ..catalog import TEMPLATE
from ..datasets.prompts import class_prompts
from ..defences.losses import cross_entropy
from ..jobs.worker import compute_repeatably
from ..models.clip import Clip
from ..models.masked_lm import MaskedLM
from ..models.subjects import load_mlm, load_model
from ..settings import Home
from .cost import Speed
from .order import Order

SECONDS, LONGER = 0.8, 2.5  # for an operation; the longer for what nearly all of the time goes to
SIDE = 64  # of the images, in pixels: the encoder sees them at its own size, whatever theirs is
MOST_PROMPTS = 64
# class names of one to three words: a prompt's time depends on its length, not on its meaning
NAMES = ("cat", "pickup truck", "oak tree", "airplane", "aquarium fish", "bottle", "dining room table", "sun")
T = TypeVar("T")


def measure(order: Order, home: Home) -> Speed:
    """Time the models of `order`, which must be in the store, on this machine: ten seconds, about."""
    compute_repeatably(torch)  # before anything runs on the device: what follows in this process takes these kernels
    device = _device()
    load, (clip, mlm) = _timed(lambda: _load(order, home), device)
    most = order.block
    bench = Bench(clip.to(device).use_precision(order.precision), device)
    with torch.no_grad():  # the first call of anything is slow
        bench.encode(1)
    assert len(bench.texts)
    target = prepare(bench.prompts, NAMES, mlm=mlm, settings=BertAttackSettings(compat=order.compat))
    return Speed(
        load=load + _start(order),
        forward=bench.each(bench.forward, most),
        gradient=bench.each(bench.step, most, seconds=LONGER),
        prompt=bench.each(lambda n: clip.embed_texts(bench.some_prompts(n)), MOST_PROMPTS),
        prompt_attack=bench.each(lambda _: attack_prompts(clip.embed_texts, target), 1) / len(NAMES),
        candidates=bench.each(lambda _: prepare(bench.prompts, NAMES, mlm=mlm, settings=target.settings), 1)
        / len(NAMES),
        update=bench.each(bench.update, most, seconds=LONGER),
        prompt_update=bench.each(bench.prompt_update, MOST_PROMPTS),
        optimizer=bench.optimizer_step(),
        device=device.type,
        ranks=min(order.processes, torch.cuda.device_count()) or 1,
    )


@dataclass(frozen=True)
class Bench:
    """The operations, each for `n` images or prompts of no meaning."""

    clip: Clip
    device: torch.device

    @property
    def prompts(self) -> list[str]:
        return class_prompts(NAMES, TEMPLATE)

    def some_prompts(self, n: int) -> list[str]:
        return (self.prompts * n)[:n]

    def images(self, n: int) -> Tensor:
        return torch.rand(n, 3, SIDE, SIDE, device=self.device)

    def encode(self, n: int) -> Tensor:
        return self.clip.encode_images(self.images(n))

    @torch.no_grad()
    def forward(self, n: int) -> None:
        self.encode(n)

    def step(self, n: int) -> None:
        """One step of PGD."""
        images, texts = self.images(n), self.texts
        pgd(
            lambda x: self.clip.encode_images(x) @ texts.T, images, self._labels(n),
            settings=PgdSettings(steps=1), start=torch.zeros_like(images),
        )  # fmt: skip

    def update(self, n: int) -> None:
        """Forward and backward of `n` images, with the gradients of the weights."""
        features, tau = self.encode(n), self.clip.scale
        cross_entropy(features, self.texts, labels=self._labels(n), tau=tau).backward()

    def prompt_update(self, n: int) -> None:
        """Forward and backward of `n` prompts."""
        texts = self.clip.encode_texts(self.clip.tokenize(self.some_prompts(n)))
        images = torch.ones(1, texts.shape[1], device=self.device)
        cross_entropy(images, texts, labels=self._labels(1), tau=self.clip.scale).backward()

    def optimizer_step(self) -> float:
        """Seconds of one step of Adam, on the gradients that the two above left."""
        optimizer = torch.optim.Adam(self.clip.parameters(), lr=0.0)
        optimizer.step()  # the first one makes the moments
        return _timed(optimizer.step, self.device)[0]

    def each(self, work: Callable[[int], object], most: int, *, seconds: float = SECONDS) -> float:
        """Seconds of `work(n)` for one of n, from the largest n, at most `most`, that there is time for."""
        n, spent = 1, 0.0
        while True:
            took, _ = _timed(lambda: work(n), self.device)  # noqa: B023
            spent += took
            if n == most or spent + 2 * took > seconds:
                return took / n
            n = min(2 * n, most)

    def _labels(self, n: int) -> Tensor:
        return torch.zeros(n, dtype=torch.int64, device=self.device)

    @cached_property
    def texts(self) -> Tensor:
        """Embeddings to classify by."""
        return self.clip.embed_texts(self.prompts)


def _start(order: Order) -> float:
    """Seconds until a process is as far as this one: each job starts its own where there are several."""
    alone = order.processes == 1 and order.accelerate_config is None
    return 0.0 if alone else time.time() - psutil.Process().create_time()


def _device() -> torch.device:
    kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return torch.device(kind)


def _load(order: Order, home: Home) -> tuple[Clip, MaskedLM]:
    """Both models and their hashes: what every job begins with."""
    clip, mlm = load_model(order.model, home), load_mlm(order.mlm, home)
    assert clip.digest() and mlm.digest()
    return clip, mlm


def _timed(work: Callable[[], T], device: torch.device) -> tuple[float, T]:
    """Seconds that `work` takes until the device has done it, and what it returns."""
    _wait(device)
    started = time.perf_counter()
    result = work()
    _wait(device)
    return time.perf_counter() - started, result


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
