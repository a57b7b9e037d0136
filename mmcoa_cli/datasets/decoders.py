"""Images decoded ahead on all cores, in the order in which they are read: what comes out is what one process gives.

This process reads the files, its threads have them decoded, a batch at a time: large ones by themselves, since of those
most time goes into what Pillow leaves Python free for; small ones by other processes (`main`). A few batches are on
their way, so memory does not grow with a dataset. Such a process ends when its standard input is closed, so it outlives
nobody: not even one that was killed.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import BinaryIO, Self

from store.errors import UserError

from ..catalog import DatasetRow
from ..processes import cores, imports
from .decoding import LARGE, MAX_PIXELS, Encoded, Large, Prepared, pixels_of, prepared
from .samples import Sample

ALONE = 30_000_000  # what this process decodes by itself (about a third of a second): as long takes it to start others
A_FILE = 15_000  # what an image file costs beside its bytes, in bytes
A_BATCH = 2_000_000  # what others are given at once
SMALL = 20_000  # bytes of an image, on average of a batch, up to which another process decodes it
# not -m, by which its results would name their classes as those of __main__
DECODER = "from mmcoa_cli.datasets.decoders import main; main()"
Done = Prepared | UserError
# pixels as bytes (empty, where the store keeps the file), which take much less to send; what is done to them.
# None for an image so large that only one is to be in memory
Result = tuple[bytes, tuple[str, ...]] | UserError | None
_Read = bytes | Done  # what has been read of an image: its file, or it has its result already


def prepared_ahead(
    samples: Iterator[Sample], row: DatasetRow, *, processes: int | None = None, alone: int = ALONE
) -> Generator[tuple[Sample, Done], None, None]:
    """Each sample with its image as the store keeps it, or with the error that says why it cannot be used.

    `processes` (as many as there are cores) begin when this one has decoded as much as is worth starting them.
    """
    processes, cost = processes or cores(), 0
    for sample in samples:
        read = _read(sample)
        yield sample, _finished(sample, read, row)
        cost += _cost(read)
        if cost >= alone and processes > 1:
            break
    with _Others(row, processes) as others:
        yield from others.prepared(samples)


class _Others:
    """The threads that decode, or wait for the process that each of them starts for it."""

    def __init__(self, row: DatasetRow, processes: int) -> None:
        self._row, self._most = row, processes
        self._sent = DatasetRow(row.name, pixel_size=row.pixel_size, resize=row.resize, oriented=row.oriented)
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._threads = ThreadPoolExecutor(self._most)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in list(self._started):
            process.kill()  # it holds nothing; a thread that waits for it hears of its end
        self._threads.shutdown(cancel_futures=True)
        for process in self._started:
            process.kill()  # also one that was started meanwhile
            process.communicate()

    def prepared(self, samples: Iterator[Sample]) -> Iterator[tuple[Sample, Done]]:
        """Each sample with what came of its image, in order."""
        waiting: deque[tuple[list[tuple[Sample, _Read]], Future[list[Result]]]] = deque()
        for batch in _batches(samples):
            waiting.append((batch, self._threads.submit(self._decode, batch)))
            if len(waiting) > 2 * self._most:
                yield from self._results(*waiting.popleft())
        while waiting:
            yield from self._results(*waiting.popleft())

    def _decode(self, batch: list[tuple[Sample, _Read]]) -> list[Result]:
        files = [(path_of(sample), read) for sample, read in batch if isinstance(read, bytes)]
        if sum(len(data) for _, data in files) > SMALL * len(files):
            return [_result(path, data, self._row) for path, data in files]
        return self._ask(files) if files else []

    def _ask(self, files: list[tuple[str, bytes]]) -> list[Result]:
        """The results of a process that has nothing to do. None of one that died: then they are decoded here."""
        try:
            process = self._idle.get_nowait()
        except queue.Empty:  # fewer are at work than there are threads
            process = self._start()
        assert process.stdin and process.stdout
        try:
            pickle.dump((self._sent, files), process.stdin, pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            results: list[Result] = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            results = [None] * len(files)
        self._idle.put(process)
        return results

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", DECODER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True,  # Ctrl-C is for this process, which ends the others
            env={**os.environ, **imports()},
        )  # fmt: skip
        self._started.append(process)
        return process

    def _results(self, batch: list[tuple[Sample, _Read]], asked: Future[list[Result]]) -> Iterator[tuple[Sample, Done]]:
        results = iter(asked.result())
        for sample, read in batch:
            found = next(results) if isinstance(read, bytes) else None
            if found is None or not isinstance(read, bytes):
                yield sample, _finished(sample, read, self._row)
            elif isinstance(found, UserError):
                yield sample, found
            else:
                values, changes = found
                yield sample, Prepared(read if self._row.resize is not None else pixels_of(values, self._row), changes)


def _batches(samples: Iterator[Sample]) -> Iterator[list[tuple[Sample, _Read]]]:
    batch: list[tuple[Sample, _Read]] = []
    cost = 0
    for sample in samples:
        batch.append((sample, _read(sample)))  # before the next is asked for: an archive is read from front to back
        cost += _cost(batch[-1][1])
        if cost >= A_BATCH:
            yield batch
            batch, cost = [], 0
    if batch:
        yield batch


def _read(sample: Sample) -> _Read:
    if not isinstance(sample.image, Encoded):
        return Prepared(sample.image, ())
    try:
        return sample.image.read()
    except UserError as error:
        return error


def _finished(sample: Sample, read: _Read, row: DatasetRow) -> Done:
    return _decoded(path_of(sample), read, row) if isinstance(read, bytes) else read


def _decoded(path: str, data: bytes, row: DatasetRow, *, at_most: int = MAX_PIXELS) -> Done:
    """What `prepared` gives, or the error that it raises."""
    try:
        return prepared(Encoded(path, lambda: data), row, at_most=at_most)
    except UserError as error:
        return error


def path_of(sample: Sample) -> str:
    """The name of its file; empty where it comes as pixels."""
    return sample.image.path if isinstance(sample.image, Encoded) else ""


def _cost(read: _Read) -> int:
    """Zero of what is not decoded at all: pixels that are stored as such need no other process."""
    return A_FILE + len(read) if isinstance(read, bytes) else 0


def _result(path: str, data: bytes, row: DatasetRow) -> Result:
    """The result for whoever has the file."""
    try:
        done = _decoded(path, data, row, at_most=LARGE)
    except Large:
        return None
    if isinstance(done, UserError):
        return done
    return b"" if isinstance(done.image, bytes) else done.image.tobytes(), done.changes


def serve(tasks: BinaryIO, results: BinaryIO) -> None:
    """Answer each task, a row and the names and bytes of image files, by its results, until no more come."""
    while True:
        try:
            row, files = pickle.load(tasks)
        except EOFError:
            return
        pickle.dump([_result(path, data, row) for path, data in files], results, pickle.HIGHEST_PROTOCOL)
        results.flush()


def main() -> None:
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no result
    try:
        serve(sys.stdin.buffer, results)
    except BrokenPipeError:  # nobody is left to tell
        os._exit(1)
