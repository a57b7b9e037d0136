"""The pixels of a training's batches, in their order: read when they are asked for, held in memory where all of them
are small, or read, decoded and resized ahead by worker processes. The bits are the same each way.
"""

from __future__ import annotations

import multiprocessing
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from store.datasets import Dataset
from store.errors import UserError

from ..datasets.pixels import HeldPixels, Pixels, load_pixels
from ..terminal.errors import explained

SPLIT = "train"
HELD = 2**30  # bytes of pixels that a process keeps, at most: CIFAR's 50,000 images take 154 MB
FEWEST_CORES = 4  # of fewer none is to spare
MOST = 16  # workers: an image of 500 x 375 takes one 5 ms, and a GPU wants 2,000 a second
AHEAD = 2  # batches of each worker that are ready, or under way
SHARED = Path("/dev/shm")  # where batches go from one process to another
HINT = "--workers 0 reads the images in the training's own process"

Ints = npt.NDArray[np.int64]
Feed = Callable[[int, Ints], Pixels | Tensor]  # the number of a batch, and those of its images -> (b, S, S, 3), 0..255


@dataclass(frozen=True)
class Reading:
    """In how many worker processes images are read ahead; without one, whether they are held once they are read."""

    workers: int = 0
    held: bool = False


def chosen(
    dataset: Dataset, images: int, *, batch: int, device: torch.device, cores: int, processes: int = 1,
    asked: int | None = None,
) -> Reading:  # fmt: skip
    """How to read so many images of a dataset, `batch` at a time, in each of `processes` that share the machine's
    `cores`; `asked` is what a person wants, None for what suits."""
    each = 3 * dataset.info.pixel_size**2
    held = images * each <= HELD
    if asked is not None:
        return Reading(asked, held=held and not asked)
    spare = cores // processes - 1
    if held or spare + 1 < FEWEST_CORES:
        return Reading(held=held)
    enough = 1 if device.type == "cpu" else MOST  # a CPU computes more slowly than one worker reads
    return Reading(min(enough, spare, _that_fit(batch * each * processes)))


def _that_fit(batch: int) -> int:
    """How many workers' batches, of so many bytes each, the shared memory takes; a container often has 64 MB of it."""
    with suppress(OSError):
        return int(shutil.disk_usage(SHARED).free // ((AHEAD + 1) * batch))
    return MOST


@contextmanager
def fed(dataset: Dataset, indices: Ints, batches: Iterable[Ints], reading: Reading, *, pinned: bool) -> Iterator[Feed]:
    """What reads the batches of a training on the images `indices`. Workers read `batches` ahead, the numbers of each
    one's images, and are started when the first is asked for."""
    if not reading.workers:
        read = HeldPixels(dataset, SPLIT, indices) if reading.held else partial(load_pixels, dataset, SPLIT)
        yield lambda _, numbers: read(numbers)
        return
    ahead = _Ahead(dataset, batches, reading.workers, pinned=pinned)
    try:
        yield ahead
    finally:
        ahead.close()


class _Ahead:
    """Batches from workers, in order."""

    def __init__(self, dataset: Dataset, batches: Iterable[Ints], workers: int, *, pinned: bool) -> None:
        self._from, self._batches, self._workers, self._pinned = _From(dataset), batches, workers, pinned
        self._loader: Iterator[Tensor | UserError] | None = None
        self._read, self._pixels = -1, torch.empty(0)

    def __call__(self, batch: int, numbers: Ints) -> Tensor:
        """Raises UserError for images that cannot be read, and when a worker dies."""
        if self._loader is None:
            self._loader = self._start()
        while self._read < batch:
            try:
                found = next(self._loader)
            except (RuntimeError, OSError, EOFError) as error:
                if isinstance(error, RuntimeError) and "worker (pid" not in str(error):  # DataLoader's words for it
                    raise
                raise UserError("a process that reads images died", hint=HINT) from error
            if isinstance(found, UserError):
                raise found
            self._pixels, self._read = found, self._read + 1
        return self._pixels

    def _start(self) -> Iterator[Tensor | UserError]:
        forks = "forkserver" in multiprocessing.get_all_start_methods()
        context: Any = multiprocessing.get_context("forkserver" if forks else "spawn")
        if forks:
            context.set_forkserver_preload(["torch.utils.data", __name__])  # once for all workers
        loader: DataLoader[Any] = DataLoader(
            self._from,  # type: ignore[arg-type]  # what has `__getitem__`
            batch_size=None, sampler=self._batches, num_workers=self._workers, prefetch_factor=AHEAD,
            multiprocessing_context=context, pin_memory=self._pinned, generator=torch.Generator(),
        )  # fmt: skip
        with _unheard():
            return iter(loader)

    def close(self) -> None:
        """End the workers, also where an error's frames hold them."""
        if self._loader is not None:
            self._loader._shutdown_workers()  # type: ignore[attr-defined]


class _From:
    """Reads batches of a dataset's file, which each worker opens for itself."""

    def __init__(self, dataset: Dataset) -> None:
        info = dataset.info
        self._path, self._pixel_size, self._resize = dataset.path, info.pixel_size, info.resize
        self._opened: Dataset | None = None

    def __getitem__(self, numbers: Ints) -> Tensor | UserError:
        """An error is told as what it is: DataLoader would put it into its own words."""
        try:
            if self._opened is None:
                self._opened = Dataset.open(self._path).attacked_at(self._pixel_size, resize=self._resize)
            return torch.from_numpy(load_pixels(self._opened, SPLIT, numbers, threads=1))
        except UserError as error:
            reason = explained(error)
            return UserError(str(reason), hint=reason.hint)


@contextmanager
def _unheard() -> Iterator[None]:
    """Processes that are started inside do not hear Ctrl-C, which they would explain at length: they end with this
    one."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # else it starts inside, and unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
