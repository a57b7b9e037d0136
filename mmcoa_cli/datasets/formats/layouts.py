"""Which layout a folder or archive has: the dataset's own, torchvision's, one of the Hugging Face hub, or folders of
classes. A further format is a file with a `find`, and a line of `FORMATS`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Protocol

from store.errors import UserError

from ...catalog import DatasetRow
from ..files import Files
from ..samples import Recognised
from ..sources.archives import open_files
from ..sources.nested_archives import expanded
from .readers import find as find_own

# in the order in which they are tried; each is imported when its turn comes
FORMATS = (
    "readers", "torchvision_readers", "parquet_files", "caption_lists", "webdatasets", "image_folders",
)  # fmt: skip


class Find(Protocol):
    """What a format offers: the samples of `files`, None where they are not in this format.

    A `row` without classes is completed with those there are. What must lie on the disk while samples are read goes
    into `scratch`; `stack` is closed when all are read. Raises UserError for files in this format that are no dataset,
    or another one.
    """

    def __call__(self, files: Files, row: DatasetRow, *, scratch: Path, stack: ExitStack) -> Recognised | None: ...


@contextmanager
def recognised(row: DatasetRow, source: Path, *, scratch: Path) -> Iterator[Recognised]:
    """The samples of the folder or archive `source`; a row without classes is completed with those it has.

    Raises UserError when `source` has no layout that is known, or other classes than the row.
    """
    with open_files(source, scratch=scratch) as outer, ExitStack() as stack:
        if (own := find_own(outer, row, scratch=scratch, stack=stack)) is not None:
            yield own  # before the archives within it are opened
            return
        files = stack.enter_context(expanded(outer))
        found = (_format(name)(files, row, scratch=scratch, stack=stack) for name in FORMATS)
        layout = next(filter(None, found), None)
        if layout is None:
            raise UserError(
                f"{files.title} has no layout that is known",
                hint="it takes folders of classes, or images with captions",
            )
        yield layout


def _format(name: str) -> Find:
    find: Find = import_module(f".{name}", __package__).find
    return find
