"""Datasets into the store: from the network, from a folder or archive on this machine, or embedded in a library.

Whatever they come from, images pass one at a time from reader to writer, so that memory does not grow with a dataset.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from store.datasets import Dataset, DatasetWriter
from store.errors import UserError
from store.files import lock, read_text
from store.printable import visible

from .. import catalog
from ..catalog import DatasetRow, Source
from ..console import progress, say
from ..hubs import dataset_folder
from ..names import require_printable, store_name
from ..settings import Home
from .downloads import download, require_space
from .layouts import Recognised, recognised
from .readers import EMBEDDED


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


def open_classes(name: str, home: Home) -> Dataset:
    """`open_dataset` for work that needs classes. Raises UserError for a dataset of captions."""
    dataset = open_dataset(name, home)
    if dataset.info.captions:
        raise UserError(
            f"{name} has captions and no classes to train on or to test", hint="mmcoa fetch --list shows the others"
        )
    return dataset


def dataset_path(name: str, home: Home) -> Path:
    """The file that holds, or would hold, the dataset."""
    return home.datasets / f"{store_name(name)}.h5"


def registered_datasets(home: Home) -> list[str]:
    """The file names, without ending, of the datasets that are in the store."""
    return sorted(path.stem for path in home.datasets.glob("[!.]*.h5"))


def fetch_dataset(name: str, home: Home, *, source: Path | None = None, own: DatasetRow | None = None) -> bool:
    """Bring the dataset `name` into the store, from `source` if that is given; False when it is there already.

    A name that the catalog does not have is registered, with the classes that `source` has, or that the row `own`
    names. Raises UserError.
    """
    row = catalog.datasets().get(name)
    if row is not None and own is not None:
        raise UserError(
            f"{name} has its class names and template in the catalog",
            hint=f"fetch it under a name of its own: mmcoa fetch my-{store_name(name)} --from PATH --template ...",
        )
    if row is None and source is None and not dataset_path(name, home).exists():
        raise _absent(name, home)
    return fetch_row(row or own or DatasetRow(name), home, source=source)


def own_row(name: str, *, class_names: Path | None, template: str | None) -> DatasetRow | None:
    """The row of a dataset of one's own, None where nothing is said of it.

    `class_names` is a file of one name a line, or a JSON list. Raises UserError for a file or template that is none.
    """
    if class_names is None and template is None:
        return None
    require_printable(template or "", "--template")
    if template is not None and template.count("{}") != 1:
        raise UserError(f"--template {template!r} has no place for the class", hint='--template "a photo of a {}"')
    return DatasetRow(name, class_names=_names_in(class_names), template=template or catalog.TEMPLATE)


def _names_in(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        text = read_text(path)
        names = json.loads(text) if path.suffix.lower() == ".json" else text.split("\n")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read the class names in {path}: {error}", hint="one name a line") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path} is no list of names", hint='one name a line, or ["first", "second"]')
    found = tuple(require_printable(name.strip(), f"in {path} the name") for name in names if name.strip())
    if not found:
        raise UserError(f"there are no names in {path}", hint='one name a line, or ["first", "second"]')
    return found


def fetch_row(row: DatasetRow, home: Home, *, source: Path | None = None) -> bool:
    """`fetch_dataset` for a row that need not be in the catalog; one without class names takes those of `source`."""
    target = dataset_path(row.name, home)
    if _is_whole(target):
        return False
    wait = f"waiting for another process that fetches {row.name}"
    with lock(target, what=f"the dataset {row.name}", on_wait=lambda: say(wait)):
        if _is_whole(target):
            return False
        with _scratch(target) as scratch:
            if row.embedded:
                _take_embedded(row, target, source)
            elif source is not None:
                with recognised(row, source, scratch=scratch) as found:
                    _write(found, target, origin=source.name, expected=row.splits)
            else:
                _take_first(row, home, target, scratch=scratch)
    return True


def _is_whole(target: Path) -> bool:
    if not target.exists():
        return False
    try:
        Dataset.open(target).close()
    except UserError as error:
        say(f"{error}; fetching it again")
        return False
    return True


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A folder for what is inflated or unpacked on the way; also what a killed process left there is removed."""
    scratch = target.with_name(f".{target.stem}.scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _take_embedded(row: DatasetRow, target: Path, source: Path | None) -> None:
    if source is not None:
        raise UserError(f"{row.name} is embedded and comes from nowhere else", hint=f"mmcoa fetch {row.name}")
    found = Recognised(row, EMBEDDED[row.reader](row), row.bytes, None)
    _write(found, target, origin="embedded", expected=row.splits)


def _take_first(row: DatasetRow, home: Home, target: Path, *, scratch: Path) -> None:
    """From the first of the row's sources that gives it; what was downloaded stays until that is done."""
    trouble = UserError(f"{row.name} has no source to download it from", hint=f"mmcoa fetch {row.name} --from PATH")
    for number, source in enumerate(row.sources):
        if number:
            say(f"{trouble}; trying another source: {_title(source)}")
        place = home.datasets / f".{store_name(row.name)}.download" / store_name(_title(source))
        try:
            folder, origin = _downloaded(row, source, place)
            with recognised(row, folder, scratch=scratch) as found:
                _write(found, target, origin=origin, expected=row.splits, whole=not source.repository)
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
    for archive in source.archives:
        file_name = PurePosixPath(urlsplit(archive.url).path).name
        download(archive, folder / file_name, name=row.name)
    return folder, source.archives[0].url


def _title(source: Source) -> str:
    return source.repository or urlsplit(source.archives[0].url).hostname or ""


def _write(found: Recognised, target: Path, *, origin: str, expected: Mapping[str, int], whole: bool = False) -> None:
    """Write what was found. Raises UserError where it is to be `whole` and is not as many images as `expected`."""
    row = found.row
    for class_name in row.class_names:
        require_printable(class_name, "the class name")
    require_space(found.bytes, folder=target.parent, name=row.name)
    writer = DatasetWriter(
        target,
        name=row.name,
        class_names=row.class_names,
        pixel_size=row.pixel_size,
        resize=row.resize,
        template=row.template,
        source=visible(origin),
        licence=row.licence,
        synonyms=row.synonyms,
        image_size=row.pixel_size if row.resize is None else None,
        captions=row.captions,
        expected=expected,
    )
    total = found.count or sum(row.splits.values()) or None
    with writer as out, progress(row.name, total=total, unit="images") as task:
        for split, image, label, captions in found.samples:
            out.add(split, image, label, captions)
            task.advance()
        counts = {split: out.count(split) for split in {*expected, *out.splits}}
        if not any(counts.values()):
            raise UserError(f"{origin} holds no image of {row.name}", hint="is it the right folder or archive?")
        if whole and counts != dict(expected):
            raise UserError(f"{origin} holds {counts} images, {row.name} has {dict(expected)}", hint="report it")
    _say_part(target)


def _say_part(target: Path) -> None:
    with Dataset.open(target) as dataset:
        parts = [f"{split}: {part}" for split in dataset.info.splits if (part := dataset.info.part(split))]
        if parts:
            name, what = dataset.info.name, "; ".join(parts)
            say(f"{name} is not the whole dataset, and every result over it will say so ({what})")


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
