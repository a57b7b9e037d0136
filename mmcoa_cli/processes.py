"""What other processes of this program are started with: how many there may be, on which device each computes, and what
they import."""

from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path

from store.errors import UserError

from .memory import available

SOME = 16  # processes that any machine is given
VISIBLE = "CUDA_VISIBLE_DEVICES"
DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/dxg"), Path("/dev/kfd"))  # NVIDIA's, that of WSL, AMD's


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def that_fit(each: float) -> int:
    """How many processes may compute at once that leave most of a core idle, and take so many bytes of memory each."""
    return max(1, min(cores(), int(available() // each)))


def require_fit(option: str, number: int, *, otherwise: str = "") -> None:
    """Raises UserError for more than the machine takes: each has half a gigabyte before it begins."""
    if number > max(SOME, cores()):
        what = f"{option} {number} is too many for this machine, which has {cores()} cores"
        raise UserError(what, hint=f"give it one a GPU, or leave it out{otherwise}")


def devices() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them: numbers, or ids of GPUs and of their parts
    (MIG). Without a driver, torch is not loaded to count them."""
    if not any(driver.exists() for driver in DRIVERS):
        return []
    import torch

    return named(torch.cuda.device_count())


def named(count: int) -> list[str]:
    """The names of so many."""
    given = os.environ.get(VISIBLE, ",".join(map(str, range(count))))
    # CUDA sees none behind one that it does not know
    return [*takewhile(lambda name: name and not name.startswith("-"), map(str.strip, given.split(",")))][:count]


def own_device(number: int) -> dict[str, str]:
    """The variable by which the process of this number (from 0) sees one GPU alone; empty where there is none. Where
    there are fewer GPUs than processes, some share one."""
    there = devices()
    return {VISIBLE: there[number % len(there)]} if there else {}


def of_their_own(processes: int) -> int:
    """How many devices so many processes compute on; the CPU is one."""
    return min(processes, len(devices())) or 1 if processes > 1 else 1


def imports() -> dict[str, str]:
    """The variables with which another process imports this very package, not a `store` in the current folder."""
    package = str(Path(__file__).resolve().parents[1])
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))}
