"""What other processes of this program are started with: how many there may be, and what they import."""

from __future__ import annotations

import os
from pathlib import Path

from .memory import available


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def that_fit(each: float) -> int:
    """How many processes may compute at once that leave most of a core idle, and take so many bytes of memory each."""
    return max(1, min(cores(), int(available() // each)))


def imports() -> dict[str, str]:
    """The variables with which another process imports this very package, not a `store` in the current folder."""
    package = str(Path(__file__).resolve().parents[1])
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))}
