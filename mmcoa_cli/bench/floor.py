"""The floor: what this machine could do at this very moment. Products of large matrices, copies of memory, the disk.

The floor of a piece of work is the number of its operations over the rate of a product of large matrices, in the same
precision and by as many threads; or the bytes that it has to move over the rate of a copy.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..attacks.words import STOP_WORDS
from ..models.architectures import build
from ..models.clip import Clip
from .race import FLOOR, Entrant, Race

ENOUGH = {"cpu": 0.02, "cuda": 0.005, "mps": 0.02}  # seconds that a product has to take
SMALLEST, LARGEST = 512, 16384
COPIED, WRITTEN = 2**27, 2**26  # bytes
GIGA = 1e9
CANDIDATES = ("thing", "house", "river", "paper", "window", "garden", "engine", "letter", "music", "winter")
# dense TFLOP/s as makers say them, of fp32 without TF32 and of bf16
NOMINAL = {
    "H100 PCIe": (51.0, 756.0), "H100": (67.0, 989.0), "H200": (67.0, 989.0), "B200": (75.0, 2250.0),
    "A100": (19.5, 312.0), "A6000": (38.7, 155.0), "A10": (31.2, 125.0), "L40S": (91.6, 362.0), "L4": (30.3, 121.0),
    "RTX 3090": (35.6, 71.0), "RTX 4090": (82.6, 165.0),
}  # fmt: skip


class Machine:
    """What limits the work: products on `device` in `precision`, memory, and the disk of `folder`."""

    def __init__(self, device: torch.device, precision: str, folder: Path) -> None:
        self.device, self.folder = device, folder
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32

    def wait(self) -> None:
        """Until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    @cached_property
    def _matrices(self) -> tuple[Tensor, Tensor]:
        """Large enough for a product to take a while."""
        n = SMALLEST
        while True:
            a, b = (torch.rand(n, n, device=self.device).to(self.dtype) for _ in range(2))
            if n >= LARGEST or self._seconds(lambda: a @ b) > ENOUGH.get(self.device.type, 0.02):  # noqa: B023
                return a, b
            n *= 2

    def _seconds(self, work: Callable[[], object]) -> float:
        work()  # the first takes longer
        self.wait()
        began = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - began

    def products(self, flops: float) -> Entrant:
        """The floor of work whose unit takes so many operations."""
        a, b = self._matrices
        return Entrant(FLOOR, lambda number: a @ b, units=2 * len(a) ** 3 / flops)

    def copies(self, moved: float) -> Entrant:
        """The floor of work whose unit reads and writes so many bytes."""
        source, target = (torch.ones(COPIED, dtype=torch.uint8) for _ in range(2))
        return Entrant(FLOOR, lambda number: target.copy_(source), units=2 * COPIED / moved)

    @property
    def nominal(self) -> float | None:
        """Operations a second that its maker states; None for a device that is not known here."""
        if self.device.type != "cuda":
            return None
        name, of = torch.cuda.get_device_name(self.device), int(self.dtype == torch.bfloat16)
        return next((rates[of] * 1e12 for known, rates in NOMINAL.items() if known in name), None)

    def races(self) -> list[Race]:
        """Its own rates."""
        disk = Disk(self.folder / "bench.disk")
        content = os.urandom(WRITTEN)
        name = str(self.dtype).removeprefix("torch.")
        return [
            Race("machine", f"matrix product, {name}", "GFLOP", [self.products(GIGA)]),
            Race("machine", "memory, read and written", "GB", [self.copies(GIGA)]),
            Race("machine", "disk, written", "GB", [Entrant(FLOOR, lambda _: disk.write(content), WRITTEN / GIGA)]),
            Race("machine", "disk, read again", "GB", [
                Entrant(FLOOR, lambda _: disk.read(), WRITTEN / GIGA, before=lambda _: disk.write(content)),
            ]),
        ]  # fmt: skip


class Disk:
    """A file that is written whole, so that it lies on the disk, and read again, from wherever the system has it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, content: bytes) -> None:
        with self.path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> bytes:
        return self.path.read_bytes()


class Work:
    """How many operations a model's encoders take, counted on a model without memory."""

    def __init__(self, config: Mapping[str, object], *, side: int, context: int) -> None:
        with torch.device("meta"):
            self._model = build(config).eval()
            self._inputs = torch.zeros(1, 3, side, side), torch.zeros(1, context, dtype=torch.long)
        self._context = context

    @cached_property
    def image(self) -> float:
        """Of an image, forward. Backward to its pixels takes as many, to the weights as many again."""
        return self._counted(lambda: self._model.encode_image(self._inputs[0]))

    @cached_property
    def token(self) -> float:
        """Of a token of a text, forward."""
        return self._counted(lambda: self._model.encode_text(self._inputs[1])) / self._context

    @staticmethod
    def _counted(encode: Callable[[], object]) -> float:
        with FlopCounterMode(display=False) as counter:
            encode()
        return float(counter.get_total_flops())


def tokens_of(clip: Clip, texts: Sequence[str]) -> int:
    """The fewest tokens of these texts together that a text tower has to read: in a causal one, equal beginnings are
    read once. Where every token sees all others, each different text counts whole."""
    rows = set(clip.token_rows(list(texts)))
    context = int(clip.tokenizer.context_length)
    if all(len(row) == context for row in rows):
        return context * len(rows)
    return len({row[:length] for row in rows for length in range(1, len(row) + 1)})


def tokens_attacked(clip: Clip, prompts: Sequence[str]) -> int:
    """The same of all that BERT-Attack has to look at: the prompts, each with one word after another as [UNK], where
    that may change, and each with another last word, ten times."""
    return tokens_of(clip, [text for prompt in prompts for text in _looked_at(prompt)])


def may_change(word: str) -> bool:
    return word.lower() not in STOP_WORDS


def _looked_at(prompt: str) -> list[str]:
    words = prompt.split(" ")
    masked = [[*words[:i], "[UNK]", *words[i + 1 :]] for i, word in enumerate(words) if may_change(word)]
    changed = [[*words[:-1], word] for word in CANDIDATES]
    return [" ".join(some) for some in (words, *masked, *changed)]
