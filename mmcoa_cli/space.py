"""The space on the store's disk: how much is free, and what a command says beforehand that it will take."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping

from store.files import existing

from .settings import Home
from .terminal.console import say


def size(count: float) -> str:
    """ "3 MB", "1.2 GB", "1,200 GB"."""
    return f"{math.ceil(count / 1e6)} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"


def free_space(home: Home) -> int:
    """Bytes on the disk of the store, which may not be there yet."""
    return shutil.disk_usage(existing(home.root)).free


def tell_needs(parts: Mapping[str, float], home: Home) -> None:
    """Say what is going to be written, by what it is: "needs about 1.2 GB: checkpoints 0.6 GB, examples 0.6 GB; 310 GB
    free". Nothing where that is nothing, and of one part the sum alone."""
    told = {name: count for name, count in parts.items() if count}
    if not told:
        return
    needed, free = sum(told.values()), free_space(home)
    said = f": {', '.join(f'{name} {size(count)}' for name, count in told.items())}" if len(told) > 1 else ""
    say(f"needs about {size(needed)}{said}; {'only ' if needed > free else ''}{size(free)} free", style="dim")
