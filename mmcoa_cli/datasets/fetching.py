"""Datasets into the store: from the network, from a folder or archive on this machine, or embedded in a library.

Whatever they come from, images pass one at a time from reader to writer, so that memory does not grow with a dataset.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from rich.markup import escape

from store.datasets import Dataset, DatasetWriter
from store.errors import UserError
from store.files import lock

from .. import catalog
from ..catalog import DatasetRow, Source
from ..console import progress, say
from ..names import store_name
from ..settings import Home
from .archives import Files, open_files
from .downloads import download
from .image_folders import Sample, describe, read_images, scan
from .readers import EMBEDDED, READERS


def open_dataset(name: str, home: Home) -> Dataset:
    """The dataset `name`, from the store; an embedded one is made when it is not there yet.

    Raises UserError, with what to type, when it is neither.
    """
    path = dataset_path(name, home)
    if not path.exists():
        row = catalog.datasets().get(name)
        if row is None or not row.embedded:
            raise _absent(name, home)
        fetch_dataset(name, home)
    return Dataset.open(path)


def dataset_path(name: str, home: Home) -> Path:
    """The file that holds, or would hold, the dataset."""
    return home.datasets / f"{store_name(name)}.h5"


def registered_datasets(home: Home) -> list[str]:
    """The file names, without ending, of the datasets that are in the store."""
    return sorted(path.stem for path in home.datasets.glob("[!.]*.h5"))


def fetch_dataset(name: str, home: Home, *, source: Path | None = None) -> bool:
    """Bring the dataset `name` into the store, from `source` if that is given; False when it is there already.

    A name that the catalog does not have is registered, with the classes that `source` has. Raises UserError.
    """
    row = catalog.datasets().get(name)
    if row is None and source is None and not dataset_path(name, home).exists():
        raise _absent(name, home)
    return fetch_row(row or DatasetRow(name), home, source=source)


def fetch_row(row: DatasetRow, home: Home, *, source: Path | None = None) -> bool:
    """`fetch_dataset` for a row that need not be in the catalog; one without class names takes those of `source`."""
    target = dataset_path(row.name, home)
    if _is_whole(target):
        return False
    wait = escape(f"waiting for another process that fetches {row.name}")
    with lock(target, what=f"the dataset {row.name}", on_wait=lambda: say(wait)):
        if _is_whole(target):
            return False
        with _opened(row, home, source) as (full_row, samples, origin):
            _write(full_row, samples, target, origin=origin)
    return True


def _is_whole(target: Path) -> bool:
    if not target.exists():
        return False
    try:
        Dataset.open(target).close()
    except UserError as error:
        say(escape(f"{error}; fetching it again"))
        return False
    return True


@contextmanager
def _opened(row: DatasetRow, home: Home, source: Path | None) -> Iterator[tuple[DatasetRow, Iterator[Sample], str]]:
    """The complete row, its samples, and in words where they come from."""
    if row.embedded:
        if source is not None:
            raise UserError(f"{row.name} is embedded and comes from nowhere else", hint=f"mmcoa fetch {row.name}")
        yield row, EMBEDDED[row.reader](row), "embedded"
    elif source is not None:
        with open_files(source, scratch=home.datasets) as files:
            yield *_recognised(row, files), source.name
    else:
        archive, chosen = _downloaded(row, home)
        with open_files(archive, scratch=home.datasets) as files:
            yield *_recognised(row, files), chosen.url
        shutil.rmtree(archive.parent)


def _recognised(row: DatasetRow, files: Files) -> tuple[DatasetRow, Iterator[Sample]]:
    reader = READERS.get(row.reader)
    if reader is not None and reader.recognises(files):
        return row, _all_of(row, reader.read(files, row), title=files.title)
    layout = scan(files)
    if not row.class_names:
        row = describe(files, layout, name=row.name)
    return replace(row, splits=layout.counts), read_images(files, layout, row)


def _all_of(row: DatasetRow, samples: Iterator[Sample], *, title: str) -> Iterator[Sample]:
    """`samples`, and a UserError at their end when they are not as many as the row says: its own archive has all."""
    counts = dict.fromkeys(row.splits, 0)
    for sample in samples:
        counts[sample[0]] += 1
        yield sample
    if counts != dict(row.splits):
        raise UserError(f"{title} holds {counts} images, {row.name} has {dict(row.splits)}", hint="download it again")


def _write(row: DatasetRow, samples: Iterator[Sample], target: Path, *, origin: str) -> None:
    writer = DatasetWriter(
        target,
        name=row.name,
        class_names=row.class_names,
        pixel_size=row.pixel_size,
        resize=row.resize,
        template=row.template,
        source=origin,
        licence=row.licence,
        synonyms=row.synonyms,
        image_size=row.pixel_size if row.resize is None else None,
    )
    with writer as out, progress(row.name, total=sum(row.splits.values()) or None, unit="images") as task:
        for split, image, label in samples:
            out.add(split, image, label)
            task.advance()


def _downloaded(row: DatasetRow, home: Home) -> tuple[Path, Source]:
    """The row's archive from the first of its sources that gives it; kept until the dataset is in the store."""
    archive = home.datasets / f".{store_name(row.name)}.download" / "archive"
    archive.parent.mkdir(parents=True, exist_ok=True)
    trouble = UserError(f"{row.name} has no source to download it from", hint=f"mmcoa fetch {row.name} --from PATH")
    for source in row.sources:
        try:
            download(source, archive, name=row.name)
            return archive, source
        except UserError as error:
            trouble = error
    with suppress(OSError):  # unless something has arrived
        archive.parent.rmdir()
    raise trouble


def _absent(name: str, home: Home) -> UserError:
    if name in catalog.datasets():
        return UserError(f"the dataset {name} is not in the store", hint=f"mmcoa fetch {name}")
    known = [*catalog.datasets(), *registered_datasets(home)]
    close = get_close_matches(name.lower(), known, n=3, cutoff=0.4)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    return UserError(
        f"there is no dataset called {name!r}",
        hint=f"{meant}a dataset of your own: mmcoa fetch {store_name(name)} --from FOLDER",
    )
