"""A tensor that lies in a file, and the file that it lies in."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from store.errors import UserError

MAX_DIMENSIONS = 16


class NotWeights(Exception):
    """Why a file, or a part of it, is no file of weights: half a sentence."""


@dataclass(frozen=True)
class Weight:
    """A tensor of a file. `read` gives it as a new contiguous tensor of its own memory."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@contextmanager
def mapped(path: Path, *, title: str = "", hint: str = "") -> Iterator[mmap.mmap]:
    """The bytes of a file, which are read from the disk as they are looked at.

    Raises UserError for what is no regular file (a pipe would be waited for) and for an empty one.
    """
    if not path.is_file():
        raise UserError(f"{title} is no regular file", hint=hint or "--from takes a folder or a file of weights")
    if path.stat().st_size == 0:
        raise UserError(f"{title} is empty", hint=hint or "copy it again")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def strided(
    content: mmap.mmap, start: int, dtype: torch.dtype, *, shape: tuple[int, ...], stride: tuple[int, ...]
) -> Tensor:
    """The tensor whose first number is at byte `start`; the caller has seen that it lies within the file."""
    if math.prod(shape) == 0:
        return torch.empty(shape, dtype=dtype)
    count = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    numbers = torch.frombuffer(bytearray(content[start : start + count * dtype.itemsize]), dtype=dtype)
    return numbers.as_strided(shape, stride).contiguous()


def sizes(value: object) -> tuple[int, ...]:
    """A shape or stride, as tuple. Raises NotWeights for anything else."""
    fits = isinstance(value, (list, tuple)) and len(value) <= MAX_DIMENSIONS
    if not fits or not all(type(size) is int and 0 <= size < 2**48 for size in value):  # type: ignore[attr-defined]
        raise NotWeights("it has a tensor of no possible shape")
    return tuple(value)  # type: ignore[arg-type]
