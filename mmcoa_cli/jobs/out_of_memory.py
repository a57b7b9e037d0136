"""Work on many images in pieces: all at once until memory runs out, then half of them at a time, and half again."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from accelerate.utils.memory import clear_device_cache

from store.errors import UserError

from ..terminal.console import say
from ..terminal.errors import is_out_of_memory

T = TypeVar("T")
LESS = "try a smaller --model, --precision bf16, or a device with more memory"


@dataclass
class Pieces:
    """How many images are in memory at once: `most`, or all where that is None. `what` is the work."""

    what: str
    most: int | None = None

    def of(self, block: range, work: Callable[[range], T]) -> list[T]:
        """What `work` makes of the pieces of `block`, in their order. A piece that memory does not suffice for is
        halved, and so are all after it.

        Raises UserError where it does not suffice for a single image.
        """
        found, done = list[T](), block.start
        while done < block.stop:
            piece = range(done, min(block.stop, done + (self.most or len(block))))
            made = self.attempt(len(piece), lambda: [work(piece)])  # noqa: B023
            if made:
                found, done = found + made, piece.stop
        return found

    def attempt(self, images: int, work: Callable[[], T]) -> T | None:
        """What `work` makes of so many images; None where memory ran out. The next attempt takes half of them."""
        try:
            return work()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # only here, where the error is forgotten, is all free that its frames held
        clear_device_cache(garbage_collection=True)
        _return_to_system()
        if images <= 1:
            raise UserError(f"there is not enough memory for a single image ({self.what})", hint=LESS)
        self.most = (images + 1) // 2
        at_once = f"{self.most} images at once" if self.most > 1 else "one image at a time"
        say(f"out of memory with {images} images at once ({self.what}): going on with {at_once}")
        return None


def _return_to_system() -> None:
    """Give back what the C library keeps of freed memory, in pieces too small for what comes; only glibc does so."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
