"""What an epoch of training takes: seconds, and memory at its peak, on hardware with a name."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Lap:
    """Seconds of a step, and those of them in which images were waited for."""

    seconds: float
    waited: float


class Clock:
    """Runs from its beginning to `stop`."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, 0.0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self._begun = self._lap = time.perf_counter()
        self._waited = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, nothing is computed: images are read."""
        since = time.perf_counter()
        try:
            yield
        finally:
            self._waited += time.perf_counter() - since

    def lap(self) -> Lap:
        """What the last step took: what is asked of the device before (its loss) has it waited for."""
        began, self._lap = self._lap, time.perf_counter()
        waited, self._waited = self._waited, 0.0
        return Lap(self._lap - began, waited)

    def stop(self) -> None:
        """Set `seconds`, when the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds = time.perf_counter() - self._begun

    @property
    def peak_memory(self) -> int | None:
        """Bytes: on a GPU what tensors took at most, else what the process took since it began; None if not counted."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        if self.device.type != "cpu" or sys.platform == "win32":
            return None
        import resource  # which Windows does not have

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    @property
    def hardware(self) -> str:
        """What the device is called: "NVIDIA A100-SXM4-40GB", "Intel(R) Xeon(R) CPU @ 2.20GHz, 2 threads"."""
        if self.device.type == "cuda":
            return str(torch.cuda.get_device_name(self.device))
        if self.device.type != "cpu":
            return f"{platform.machine()} {self.device.type}"
        threads = torch.get_num_threads()
        return f"{_cpu()}, {threads} thread{'' if threads == 1 else 's'}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
    except OSError:  # only Linux has it
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine() or "cpu"
