"""A process that decodes images for another one (`decoders.py`): batches arrive on its standard input.

It ends when that is closed, so it outlives nobody: not even one that was killed.
"""

from __future__ import annotations

import os
import pickle
import sys
from typing import BinaryIO, NamedTuple

from store.errors import UserError

from ..catalog import DatasetRow
from .decoding import LARGE, Encoded, Prepared, prepared


class Refused(NamedTuple):
    """Why an image cannot be used: a UserError on its way to another process."""

    what: str
    hint: str

    def error(self) -> UserError:
        return UserError(self.what, hint=self.hint)


class Task(NamedTuple):
    """Image files as `row` has them: their names and bytes."""

    row: DatasetRow
    files: list[tuple[str, bytes]]


Result = Prepared | Refused | None  # None for an image so large that only one is to be in memory


def result_of(path: str, data: bytes, row: DatasetRow) -> Result:
    """What `prepared` gives or raises; of bytes that the store keeps as they are, empty ones: the other has them."""
    try:
        done = prepared(Encoded(path, lambda: data), row, at_most=LARGE)
    except UserError as error:
        return Refused(str(error), error.hint)
    return done if done is None or not isinstance(done.image, bytes) else Prepared(b"", done.changes)


def serve(tasks: BinaryIO, results: BinaryIO) -> None:
    """Answer each task by its results, until no more come."""
    while True:
        try:
            task: Task = pickle.load(tasks)
        except EOFError:
            return
        pickle.dump([result_of(path, data, task.row) for path, data in task.files], results, pickle.HIGHEST_PROTOCOL)
        results.flush()


def main() -> None:
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no result
    try:
        serve(sys.stdin.buffer, results)
    except BrokenPipeError:  # nobody is left to tell
        os._exit(1)
