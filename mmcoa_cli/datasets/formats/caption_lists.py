"""Images with the captions that lists beside them have: Karpathy's JSON (`dataset_coco.json`), also as ALBEF passes it
on (`coco_test.json`); or `metadata.csv` or `.jsonl`, as the Hugging Face hub's image folders have them, with a column
`file_name`, below the folder of the file, and one of captions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any, NamedTuple

from store.errors import UserError
from store.printable import visible

from ...catalog import DatasetRow
from ..decoding import common_size
from ..files import NO_IMAGE, Files, LeftOut, images_among, is_image, joined
from ..library import ORDER
from ..samples import (
    CAPTIONS,
    SPLITS,
    Recognised,
    Sample,
    captions_in,
    is_own,
    of_captions,
    split_in_name,
    split_of_path,
)
from .image_folders import sized
from .parquet_files import LABEL_COLUMNS

TABLES, FILE_NAME = ("metadata.csv", "metadata.jsonl"), "file_name"
MAX_LIST = 512 << 20  # bytes; COCO's has 144 MB
PEEK, FEW = 1 << 16, 50  # bytes of a JSON that say what it is, and how many are looked at: samples may have one each
FIRST_LINE = 1 << 20  # bytes
NO_CAPTIONS = (ValueError, RecursionError, TypeError, KeyError, AttributeError)
ALONE, NO_CAPTION = "a caption without an image", "an image without a caption"
_COCO = ("dataset_coco.json", "coco_test.json")
_SPLITS = {**SPLITS, "restval": "train"}


class Entry(NamedTuple):
    """An image with captions, as a list of them has it: `path` is that of a file, `value` one or several captions."""

    split: str
    path: str
    value: Any


def is_coco(files: Files) -> bool:
    """Whether there are images beside COCO's own list."""
    return any(PurePosixPath(path).name in _COCO for path in files.sizes) and any(map(is_image, files.sizes))


def coco(files: Files, row: DatasetRow) -> Iterator[Sample]:
    """COCO's `val2014` images of Karpathy's test split, with the first five captions of each, as is usual."""
    paths = {PurePosixPath(path).name: path for path in files.sizes}
    listing = next(name for name in _COCO if name in paths)
    try:
        entries = list(_entries(json.loads(files.read(paths[listing], at_most=MAX_LIST)), "test"))
    except NO_CAPTIONS as error:
        raise UserError(f"{listing} in {files.title} holds no captions", hint="download it again") from error
    captions = {PurePosixPath(entry.path).name: entry.value for entry in entries if entry.split == "test"}
    for name in sorted(captions):
        if name in paths:
            yield Sample("test", files.image(paths[name]), captions=captions_in(captions[name], row, name))


def find(files: Files, row: DatasetRow, *, scratch: Path, stack: ExitStack) -> Recognised | None:
    """The samples of a dataset of one's own whose captions are listed; of several JSON lists, those whose images are
    there. Raises UserError for lists whose images are all somewhere else."""
    if not is_own(row):
        return None
    jsons = _jsons(files)
    tables = {} if jsons else _tables(files)
    if not jsons and not tables:
        return None
    images, others = images_among(files)
    places, entries, read = _Places(images), list[Entry](), list[str]()
    for path in jsons:
        own = [entry._replace(path=places.of(entry.path, title=files.title)) for entry in _read(files, path)]
        if any(entry.path in places.all for entry in own):
            entries += own
            read.append(path)
    for path, column in tables.items():
        entries += _rows(files, path, column)
        read.append(path)
    if not any(entry.path in places.all for entry in entries):
        first = next(iter([*jsons, *tables]))
        what = f"{files.title}: no image that {first} names is there"
        raise UserError(what, hint="put the images where it says, below its folder")
    others = {**others, NO_IMAGE: tuple(path for path in others[NO_IMAGE] if path not in read)}
    captions, left_out = _by_image(files, images, entries)
    return _recognised(files, row, captions, joined(left_out, others, files.left_out))


def _by_image(
    files: Files, images: Sequence[str], entries: Iterable[Entry]
) -> tuple[dict[tuple[str, str], list[Any]], LeftOut]:
    """The captions of each of `images`, by its split and path; and the images without any, and what is named and is
    not there. Raises UserError for an image of two splits."""
    known, split_of = set(images), dict[str, str]()
    found: dict[tuple[str, str], list[Any]] = {}
    absent: dict[str, None] = {}
    for split, path, value in entries:
        if path not in known:
            absent[path] = None
            continue
        if split_of.setdefault(path, split) != split:
            raise UserError(
                f"{files.title}: {path} has captions of {split_of[path]} and of {split}", hint="which of them is it?"
            )
        found.setdefault((split, path), []).extend(value if isinstance(value, list) else [value])
    others = {ALONE: tuple(map(visible, absent)), NO_CAPTION: tuple(path for path in images if path not in split_of)}
    return found, others


def _recognised(
    files: Files, row: DatasetRow, found: Mapping[tuple[str, str], list[Any]], left_out: LeftOut
) -> Recognised:
    """The dataset of one's own that has these captions. `val` is the test set where there is no `test`."""
    splits = {split for split, _ in found}
    ours = {split: "test" if split == "val" and "test" not in splits else split for split in splits}
    order = sorted(found, key=lambda sample: (ORDER.index(ours[sample[0]]), sample[1]))
    full = sized(of_captions(row), common_size(files.image(path) for _, path in order))

    def samples() -> Iterator[Sample]:
        for split, path in order:
            captions = captions_in(found[split, path], full, f"{files.title}: {path}")
            yield Sample(ours[split], files.image(path), captions=captions)

    return Recognised(full, samples(), files.total, len(order), left_out)


def _jsons(files: Files) -> list[str]:
    """The files that are lists of captions, by how they begin."""
    found = [path for path in files.sizes if path.lower().endswith(".json")]
    return [path for path in found if _begins_as_list(files, path)] if len(found) <= FEW else []


def _begins_as_list(files: Files, path: str) -> bool:
    with files.open(path) as file:
        text = file.read(PEEK).decode("utf8", errors="replace")
    return ('"sentences"' in text and '"images"' in text) or (
        text.lstrip().startswith("[") and '"caption"' in text and '"image"' in text
    )


def _read(files: Files, path: str) -> Iterator[Entry]:
    try:
        yield from _entries(json.loads(files.read(path, at_most=MAX_LIST)), split_in_name(Path(path).stem) or "test")
    except NO_CAPTIONS as error:
        raise UserError(
            f"{path} in {files.title} is no list of captions",
            hint='it takes {"images": [{"filename": "1.jpg", "split": "test", "sentences": [{"raw": "a cat"}]}]}',
        ) from error


def _entries(document: Any, split: str) -> Iterator[Entry]:
    """The images of a list; `split` is that of one that says none."""
    if isinstance(document, list):
        for image in document:
            yield Entry(split, _path(image["image"]), image["caption"])
        return
    for image in document["images"]:
        path = f"{image['filepath']}/{image['filename']}" if image.get("filepath") else image["filename"]
        yield Entry(_SPLITS[image["split"]], _path(path), image["sentences"])


def _path(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{visible(repr(value)[:40])} is no file name")
    return normpath(value)  # "./1.jpg" is "1.jpg"


class _Places:
    """Where the images lie that a list names: below any folder, or in another one where the name alone is clear."""

    def __init__(self, images: list[str]) -> None:
        self.all = set(images)
        self._by_name: dict[str, list[str]] = {}
        for path in images:
            self._by_name.setdefault(path.rpartition("/")[2], []).append(path)

    def of(self, wanted: str, *, title: str) -> str:
        """The path of an image, `wanted` itself where it is not there. Raises UserError where it may be two."""
        if wanted in self.all:
            return wanted
        same = self._by_name.get(wanted.rpartition("/")[2], [])
        within = [path for path in same if path.endswith(f"/{wanted}")]
        found = within or same
        if len(found) > 1:
            raise UserError(f"{title}: is {visible(wanted)} {found[0]} or {found[1]}?", hint="keep one of them")
        return found[0] if found else wanted


def _tables(files: Files) -> dict[str, str]:
    """The files that are tables of captions, with the name of that column."""
    columns = {path: _caption_column(files, path) for path in files.sizes if path.rpartition("/")[2] in TABLES}
    return {path: column for path, column in columns.items() if column}


def _caption_column(files: Files, path: str) -> str:
    """The column of captions; empty where there is none. Raises UserError for several, and for labels beside it."""
    with files.open(path) as file:
        first = file.readline(FIRST_LINE).decode("utf-8-sig", errors="replace")
    try:
        names = list(json.loads(first)) if path.endswith(".jsonl") else next(csv.reader([first]), [])
    except (ValueError, TypeError, RecursionError, csv.Error):
        return ""
    found = [name for name in CAPTIONS if name in names] if FILE_NAME in names else []
    labels = [name for name in LABEL_COLUMNS if name in names]
    if found and (len(found) > 1 or labels):
        raise UserError(
            f"{files.title}: {path} has the columns {' and '.join([*found, *labels])}",
            hint="keep the one that is meant",
        )
    return found[0] if found else ""


def _rows(files: Files, path: str, column: str) -> Iterator[Entry]:
    folder = path.rpartition("/")[0]
    split = split_of_path(folder.split("/")) or "test"
    for number, line in _lines(files, path):
        name, value = line.get(FILE_NAME), line.get(column)
        if not isinstance(name, str) or not name or value is None:
            raise UserError(f"{files.title}: {path}, line {number} has no {FILE_NAME} or no {column}", hint="mend it")
        yield Entry(split, normpath(f"{folder}/{name}".lstrip("/")), value)


def _lines(files: Files, path: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The lines of a file by their numbers. Raises UserError for what is no CSV, or no JSON."""
    title, number = f"{files.title}: {path}", 1
    try:
        text = files.read(path, at_most=MAX_LIST).decode("utf-8-sig")
        if path.endswith(".csv"):
            reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            for line in reader:
                number = reader.line_num
                yield number, line
            return
        for number, one in enumerate(text.split("\n"), 1):
            if one.strip():
                document = json.loads(one)
                if not isinstance(document, dict):
                    raise ValueError("it is no object")
                yield number, document
    except (ValueError, RecursionError, csv.Error) as error:
        raise UserError(f"{title} is damaged near line {number}: {error}", hint="write it again, in UTF-8") from error
