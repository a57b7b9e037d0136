"""Datasets into the store: from the network, from a folder or archive on this machine, or embedded in a library.

Whatever they come from, images pass one at a time from reader to writer, so that memory does not grow with a dataset.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from store.datasets import Dataset
from store.errors import UserError
from store.files import lock

from .. import catalog
from ..catalog import DatasetRow, Source
from ..names import store_name
from ..settings import Home, require_space
from ..terminal.console import say
from .formats.layouts import recognised
from .formats.readers import EMBEDDED
from .library import absent, dataset_path
from .request import FetchRequest, require_same
from .samples import Recognised
from .writing import divide, write_dataset


def fetch_dataset(name: str, home: Home, asked: FetchRequest | None = None) -> bool:
    """Bring the dataset `name` into the store; False when it is there already.

    A name that the catalog does not have is registered, with the classes that its source has, or that are given.
    Raises UserError, also where another dataset than what is asked for is there.
    """
    asked = asked or FetchRequest()
    row = catalog.datasets().get(name)
    if row is not None and (asked.class_names is not None or asked.template is not None):
        raise UserError(
            f"{name} has its class names and template in the catalog",
            hint=f"fetch it under a name of its own: mmcoa fetch my-{store_name(name)} --from PATH --template ...",
        )
    if row is not None and asked.fraction is not None:
        raise UserError(f"{name} has its own splits", hint="leave out --train-fraction")
    if row is None and asked.source is None:
        if not dataset_path(name, home).exists():
            raise absent(name, home)
        if asked.replace:
            raise UserError(f"{name} is a dataset of your own: from what is it to be fetched anew?", hint="--from PATH")
    return fetch_row(row or asked.row(name), home, asked)


def fetch_row(row: DatasetRow, home: Home, asked: FetchRequest | None = None) -> bool:
    """`fetch_dataset` for a row that need not be in the catalog; one without class names takes those of its source."""
    asked = asked or FetchRequest()
    target = dataset_path(row.name, home)
    if row.embedded and asked.source is not None:
        raise UserError(f"{row.name} is embedded and comes from nowhere else", hint=f"mmcoa fetch {row.name}")
    killed = _scratch_of(target).exists()  # a process was, unless another is at work
    if not asked.replace and not killed and _is_here(target, row, asked):
        return False
    wait = f"waiting for another process that fetches {row.name}"
    with lock(target, what=f"the dataset {row.name}", on_wait=lambda: say(wait)), _scratch(target) as scratch:
        if not asked.replace and _is_here(target, row, asked):
            return False
        _take(row, home, target, asked, scratch=scratch)
    return True


def _is_here(target: Path, row: DatasetRow, asked: FetchRequest) -> bool:
    """Whether what is asked for is in the store. Raises UserError where something else is."""
    if not target.exists():
        return False
    try:
        with Dataset.open(target) as dataset:
            info = dataset.info
    except UserError as error:
        say(f"{error}; fetching it again")
        return False
    require_same(info, asked, name=row.name, row=None if row.oriented else row)
    return True


def _scratch_of(target: Path) -> Path:
    return target.with_name(f".{target.stem}.scratch")


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A folder for what is inflated or unpacked on the way; also what a killed process left there is removed."""
    scratch = _scratch_of(target)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _take(row: DatasetRow, home: Home, target: Path, asked: FetchRequest, *, scratch: Path) -> None:
    if row.embedded:
        found = Recognised(row, EMBEDDED[row.reader](row), row.bytes, None)
        write_dataset(found, target, origin="embedded", expected=row.splits, asked=asked)
    elif asked.source is not None:
        whole = scratch / "whole.h5" if asked.fraction else target
        with recognised(row, asked.source, scratch=scratch) as found:
            left_out = write_dataset(found, whole, origin=asked.source.name, expected=row.splits, asked=asked)
        if asked.fraction:
            divide(whole, target, asked.fraction, left_out=left_out)
    else:
        _take_first(row, home, target, asked, scratch=scratch)


def _take_first(row: DatasetRow, home: Home, target: Path, asked: FetchRequest, *, scratch: Path) -> None:
    """From the first of the row's sources that gives it; what was downloaded stays until that is done."""
    trouble = UserError(f"{row.name} has no source to download it from", hint=f"mmcoa fetch {row.name} --from PATH")
    for number, source in enumerate(row.sources):
        if number:
            say(f"{trouble}; trying another source: {_title(source)}")
        place = home.datasets / f".{store_name(row.name)}.download" / store_name(_title(source))
        try:
            folder, origin = _downloaded(row, source, place)
            with recognised(row, folder, scratch=scratch) as found:
                whole = not source.repository
                write_dataset(found, target, origin=origin, expected=row.splits, asked=asked, whole=whole)
            shutil.rmtree(place.parent, ignore_errors=True)
            return
        except UserError as error:
            trouble = error
            for empty in (place, place.parent):
                with suppress(OSError):  # unless something has arrived
                    empty.rmdir()
    raise trouble


def _downloaded(row: DatasetRow, source: Source, folder: Path) -> tuple[Path, str]:
    """A folder with what `source` gives (`folder`, or the hub's cache), and in words where that is from."""
    if source.repository:
        from .sources.hubs import dataset_folder

        splits = tuple(source.splits) or ("train", "test")
        place, commit = dataset_folder(
            source.repository, source.revision, splits, folder, name=row.name, licence=row.licence
        )
        return place, f"{source.repository}@{commit}" + (f" ({source.note})" if source.note else "")
    folder.mkdir(parents=True, exist_ok=True)
    # the download, its inflated or unpacked copy while it is read, and the images in the store
    sizes = [archive.bytes for archive in source.archives]
    size = sum(sizes) if all(sizes) else row.bytes
    arrived = sum(path.stat().st_size for path in folder.iterdir())
    require_space(3 * size - arrived, folder=folder, name=row.name)
    from .sources.downloads import download

    for archive in source.archives:
        file_name = PurePosixPath(urlsplit(archive.url).path).name
        download(archive, folder / file_name, name=row.name)
    return folder, source.archives[0].url


def _title(source: Source) -> str:
    return source.repository or urlsplit(source.archives[0].url).hostname or ""
