"""An image encoder as `torch.compile` makes it, where that pays: what `--fast` takes in a long run.

While images are attacked nothing but the gradient of the pixels is asked for. So what is compiled is a twin of the
encoder: its weights are the same memory, and frozen. On a GPU its kernels are launched together, as a CUDA graph.
"""

from __future__ import annotations

import copy
import os
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn

from ..terminal.console import say
from ..terminal.durations import closely
from .architectures import first_line
from .dtensors import is_dtensor

Encode = Callable[[Tensor], Tensor]

AFTER = 120.0  # seconds of attacking: compiling takes about one minute, and who attacked for two goes on, mostly
CALLS = 50  # and so many steps, of which the comparison takes a few more
ROUNDS = 3  # of each, in turns
APART = 0.05  # of their length, that a gradient may lie from the one of the encoder as it is: bf16 rounds so far
FOLDER = "TORCHINDUCTOR_CACHE_DIR"


class CompiledWhereItPays:
    """Calls an encoder as it is. Where the gradient of pixels alone is asked for, and CALLS of one shape took AFTER
    seconds, it is compiled for that shape, and taken so from then on if it was seen to be quicker and to agree."""

    def __init__(self, encoder: nn.Module, *, quiet: bool = False) -> None:
        self._encoder, self._quiet = encoder, quiet
        self._pixels_alone = False
        self._spent: defaultdict[torch.Size, float] = defaultdict(float)  # seconds of the calls of a shape
        self._calls: Counter[torch.Size] = Counter()
        self._taken: dict[torch.Size, Encode] = {}
        self._last = (torch.Size(), 0.0)  # the shape of the call before, and when it came

    @contextmanager
    def pixels_alone(self) -> Iterator[None]:
        """Inside, of what depends on pixels and weights nothing but the pixels' gradient is asked for."""
        before, self._pixels_alone = self._pixels_alone, True
        try:
            yield
        finally:
            self._pixels_alone = before

    def __call__(self, inputs: Tensor) -> Tensor:
        """What the encoder takes, (B, 3, side, side) -> features (B, D)."""
        if not (self._pixels_alone and inputs.requires_grad and torch.is_grad_enabled()):
            return self._encoder(inputs)  # type: ignore[no-any-return]
        shape, (before, then), now = inputs.shape, self._last, time.monotonic()
        if shape not in self._taken:
            if shape == before:
                self._calls[shape] += 1
                self._spent[shape] += now - then
            if self._calls[shape] >= CALLS and self._spent[shape] > AFTER:
                self._taken[shape] = self._quickest(inputs.detach())
        self._last = (shape, time.monotonic())
        return self._taken.get(shape, self._encoder)(inputs)

    def _tell(self, message: str) -> None:
        if not self._quiet:
            say(message)

    def _quickest(self, inputs: Tensor) -> Encode:
        """The encoder, or its twin compiled."""
        if any(is_dtensor(weight) for weight in self._encoder.parameters()):
            return self._encoder  # of divided weights no process has them all
        self._tell("compiling the image encoder, because this takes long")
        began = time.monotonic()
        try:
            compiled = compiled_twin(self._encoder)
            apart, ratio = _difference(self._encoder, compiled, inputs), _ratio(self._encoder, compiled, inputs)
        except Exception as error:  # a compiler that is not there, an operation that it does not know, memory
            self._tell(f"the image encoder is not compiled: {first_line(error)}")
            return self._encoder
        took = f"compiled the image encoder in {closely(time.monotonic() - began)}: "
        if ratio < 1 and apart <= APART:
            self._tell(took + f"a step takes {ratio:.2f} of the time")
            return compiled
        self._tell(took + ("no quicker" if ratio >= 1 else "another gradient") + ", so it stays as it was")
        return self._encoder


def compiled_twin(encoder: nn.Module) -> Encode:
    """The encoder compiled for gradients of its inputs alone; it has the weights of `encoder`, whatever they become."""
    os.environ.setdefault(FOLDER, _folder().name)
    weights = {id(own): nn.Parameter(own.detach(), requires_grad=False) for own in encoder.parameters()}
    shared = weights | {id(own): own for own in encoder.buffers()}
    twin: nn.Module = copy.deepcopy(encoder, memo=shared)
    compiled: Encode = torch.compile(twin, dynamic=False, mode="reduce-overhead")
    return lambda inputs: compiled(inputs).clone()  # a graph's next launch writes into the same memory


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """What is compiled is loaded from there, until the program ends: nobody else may write into it."""
    return tempfile.TemporaryDirectory(prefix="mmcoa-compiled-")


def _difference(encoder: Encode, compiled: Encode, inputs: Tensor) -> float:
    """How far the gradients of a sum of features are from each other, of their length."""
    ours, theirs = _gradient(compiled, inputs), _gradient(encoder, inputs)
    return float((ours - theirs).norm() / theirs.norm())


def _ratio(encoder: Encode, compiled: Encode, inputs: Tensor) -> float:
    """The time of a step with the compiled one, of that with the encoder as it is: the least of some rounds."""
    rounds = [(_seconds(compiled, inputs), _seconds(encoder, inputs)) for _ in range(ROUNDS)]
    return min(ours for ours, _ in rounds) / min(theirs for _, theirs in rounds)


def _seconds(encode: Encode, inputs: Tensor) -> float:
    began = time.perf_counter()
    _gradient(encode, inputs).sum().item()  # when the device has it
    return time.perf_counter() - began


def _gradient(encode: Encode, inputs: Tensor) -> Tensor:
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(encode(x := inputs.detach().requires_grad_()).float().sum(), x)
    return gradient
