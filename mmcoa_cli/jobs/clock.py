"""What work takes: seconds of an epoch, memory at its peak, on hardware with a name; and the losses of its steps."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..models.finite import require_finite_loss
from ..terminal.durations import closely

CLEAR = Path("/proc/self/clear_refs")  # "5" written there has Linux forget how much memory was taken at most
WORTH, WORTH_SECONDS = 0.05, 5.0  # the share of the time, and the seconds, from which on waiting is told of


class Clock:
    """Runs from its beginning to `stop`, which sets `seconds`. `waited` are those in which images were waited for. It
    goes on from what it counted until an interruption."""

    def __init__(self, device: torch.device, *, seconds: float = 0.0, waited: float = 0.0) -> None:
        self.device, self.seconds, self.waited = device, seconds, waited
        self._begun = time.perf_counter() - seconds

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, nothing is computed: images are read."""
        since = time.perf_counter()
        try:
            yield
        finally:
            self.waited += time.perf_counter() - since

    def stop(self) -> None:
        """Set `seconds`, when the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds = time.perf_counter() - self._begun

    @property
    def hardware(self) -> str:
        """What the device is called: "NVIDIA A100-SXM4-40GB", "Intel(R) Xeon(R) CPU @ 2.20GHz, 2 threads"."""
        if self.device.type == "cuda":
            return str(torch.cuda.get_device_name(self.device))
        if self.device.type != "cpu":
            return f"{platform.machine()} {self.device.type}"
        threads = torch.get_num_threads()
        return f"{_cpu()}, {threads} thread{'' if threads == 1 else 's'}"


def waits_told(seconds: float, waited: float) -> str:
    """How much of these seconds images were waited for, in words, where it is worth mentioning; else empty."""
    if waited < WORTH_SECONDS or waited < WORTH * seconds:
        return ""
    share = waited / seconds
    return f"{closely(waited)} of that, {share:.0%}, it waited for images: --workers N reads ahead in N processes"


def forget_peak(device: torch.device) -> None:
    """Have `peak_memory` count from now on; of a CPU's memory only Linux forgets what was before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        CLEAR.write_text("5", encoding="utf8")


def peak_memory(device: torch.device) -> int | None:
    """Bytes: on a GPU what tensors took at most, else what this process took; None where nobody counts them."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if device.type != "cpu" or sys.platform == "win32":
        return None
    import resource  # which Windows does not have

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
    except OSError:  # only Linux has it
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine() or "cpu"


EVERY = 20  # steps between two readings on a device that computes while this process goes on


@dataclass(frozen=True)
class Taken:
    """A step that was taken on so many images: its seconds, those of them in which images were waited for, its loss and
    its rate."""

    images: int
    seconds: float
    waited: float
    loss: float
    lr: float


class Losses:
    """`tell` hears of each step, in order, some when others have been taken since. `lr` is the run's own, `before` are
    the losses of the steps that were taken before an interruption."""

    def __init__(
        self,
        clock: Clock,
        tell: Callable[[Taken], None],
        *,
        lr: float,
        before: Sequence[float] = (),
    ) -> None:
        self._clock, self._tell, self._lr = clock, tell, lr
        self._every = 1 if clock.device.type == "cpu" else EVERY
        self._waiting: list[tuple[Tensor, int, float]] = []
        self._read_at, self._waited = time.perf_counter(), clock.waited  # at the last reading
        self.read = list(before)

    def add(self, loss: Tensor, *, images: int, lr: float) -> None:
        """A step's loss, a scalar on the device. Raises UserError where one that is read now is no number."""
        self._waiting.append((loss.detach(), images, lr))
        if len(self._waiting) >= self._every:
            self.flush()

    def flush(self) -> None:
        """Read those that are not read yet; each step took its share of the time since the last reading."""
        if not self._waiting:
            return
        taken, self._waiting = self._waiting, []
        values: list[float] = torch.stack([loss.float() for loss, _, _ in taken]).tolist()  # waits for the device
        now, waited = time.perf_counter(), self._clock.waited
        each, waited_each = (now - self._read_at) / len(taken), (waited - self._waited) / len(taken)
        self._read_at, self._waited = now, waited
        for value, (_, images, lr) in zip(values, taken, strict=True):
            self.read.append(require_finite_loss(value, lr=self._lr))
            self._tell(Taken(images, each, waited_each, value, lr))

    def all(self) -> list[float]:
        """Of all steps, without telling of those that were not read yet."""
        return [*self.read, *(float(loss) for loss, _, _ in self._waiting)]

    @property
    def mean(self) -> float:
        """Of all steps."""
        return float(np.mean(self.read))
