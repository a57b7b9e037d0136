"""One bench from its beginning to its end: part after part, each race of each; what was measured is kept, whatever ends
it."""

from __future__ import annotations

import os
import platform
import secrets
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from store.benches import Benches
from store.schema import Measure

from .. import __version__
from ..jobs.clock import Clock
from ..jobs.worker import choose_kernels
from ..models.runs import now
from ..settings import Home
from ..terminal.console import Task, progress
from .asked import PARTS, Asked
from .bench import Bench
from .peers import versions
from .race import Absent, Race, Row, Running
from .report import MACHINE, Report
from .subject import require_clip, require_mlm

OF_MODELS = ("image", "train", "text", "store")  # parts that need a model


@dataclass
class Found:
    """What was measured so far."""

    rows: list[Row] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)


def measure(asked: Asked, home: Home, *, show: Callable[[Report], None]) -> None:
    """Measure what is asked, keep it in the index and show it; where it is interrupted, what was measured until then.

    Raises UserError for a model that is not there, before anything is measured.
    """
    _require(asked, home)
    benches, found = Benches(home.database_url), Found()
    choose_kernels(torch)
    began, load = time.perf_counter(), _load()
    with tempfile.TemporaryDirectory(prefix="mmcoa-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other libraries, about what does not matter here
        bench = Bench(asked, home, Path(folder), _device())
        try:
            _measure(bench, found)
        finally:
            if found.rows or found.absent:
                seconds = round(time.perf_counter() - began, 1)
                report = _report(bench, found, load=[load, _load()], seconds=seconds)
                show(report)
                benches.save(_measures(report))


def _require(asked: Asked, home: Home) -> None:
    if {*OF_MODELS} & {*asked.parts}:
        require_clip(asked.model, home)
    if {"train", "text"} & {*asked.parts}:
        require_mlm(asked.mlm, home)


def _measure(bench: Bench, found: Found) -> None:
    for name in (MACHINE, *bench.asked.parts):
        title = PARTS[name].title if name in PARTS else "this machine"
        with progress(f"measuring {title}", total=None, unit="rounds") as task:
            for race in PARTS[name].races(bench) if name in PARTS else bench.machine.races():
                _run(race, bench, found, task)


def _run(race: Race, bench: Bench, found: Found, task: Task) -> None:
    running = Running(race, clock_of(bench.device), bench.machine.wait)
    try:
        if race.entrants:
            running.run(bench.sized.rounds, on_step=lambda: task.advance(note=race.work))
    finally:
        found.rows += running.rows()
        found.absent += running.absent


def clock_of(device: torch.device) -> str:
    """CPU time where the CPU computes: others may use it as well. Else the wall's, when the device is done."""
    return "cpu" if device.type == "cpu" else "wall"


def _report(bench: Bench, found: Found, *, load: list[float | None], seconds: float) -> Report:
    sized = asdict(bench.sized)
    sized.pop("forced")
    setting: dict[str, Any] = {
        **asdict(bench.asked), **sized, **bench.told(), "clock": clock_of(bench.device),
        "device": Clock(bench.device).hardware, "threads": torch.get_num_threads(), "cores": os.cpu_count(),
        "torch": torch.__version__, "python": platform.python_version(), "peers": versions(),
        "nominal": bench.machine.nominal, "load": load, "seconds": seconds, "facts": dict(bench.facts),
    }  # fmt: skip
    created = now()
    name = f"bench-{created[:19].translate(str.maketrans('', '', '-:')).replace('T', '-')}-{secrets.token_hex(2)}"
    return Report(name, created, __version__, setting, found.rows, found.absent)


def _measures(report: Report) -> list[Measure]:
    return [
        Measure(
            report.bench, number, **asdict(row), setting=report.setting, device=str(report.setting["device"]),
            version=report.version, created_at=report.created_at,
        )
        for number, row in enumerate(report.rows)
    ]  # fmt: skip


def _device() -> torch.device:
    """That of Accelerate, which training and evaluation take."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _load() -> float | None:
    """How many processes wanted a core in the last minute; None where nobody counts them."""
    with suppress(OSError, AttributeError):
        return round(os.getloadavg()[0], 2)
    return None
