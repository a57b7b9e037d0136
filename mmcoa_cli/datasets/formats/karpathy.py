"""Images with the captions that a JSON lists: Karpathy's own (`dataset_coco.json`), or as ALBEF passes it on
(`coco_test.json`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

from store.errors import UserError
from store.printable import visible

from ...catalog import DatasetRow
from ..files import NO_IMAGE, Files, images_among, is_image
from ..samples import SPLITS, Recognised, Sample, split_in_name
from .captions import Entry, checked, is_own, listed, recognised_in

MAX_LIST = 512 << 20  # bytes; COCO's has 144 MB
PEEK, FEW = 1 << 16, 50  # bytes of a JSON that say what it is, and how many are looked at: samples may have one each
NO_CAPTIONS = (ValueError, RecursionError, TypeError, KeyError, AttributeError)
_COCO = ("dataset_coco.json", "coco_test.json")
_SPLITS = {**SPLITS, "restval": "train"}


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
            yield Sample("test", files.image(paths[name]), captions=checked(captions[name], row, name))


def find(files: Files, row: DatasetRow, *, scratch: Path, stack: ExitStack) -> Recognised | None:
    """The samples of a dataset of one's own whose captions such a list has; of several lists, those whose images are
    there. Raises UserError for a list whose images are all somewhere else."""
    if not is_own(row) or not (lists := _lists(files)):
        return None
    images, others = images_among(files)
    places = _Places(images)
    entries, read, unknown = list[Entry](), list[str](), ""
    for path in lists:
        own = [entry._replace(path=places.of(entry.path, title=files.title)) for entry in _read(files, path)]
        if any(entry.path in places.all for entry in own):
            entries += own
            read.append(path)
        else:
            unknown = unknown or path
    if not entries:
        raise UserError(f"{files.title}: no image that {unknown} names is there", hint="put it beside its images")
    others = {**others, NO_IMAGE: tuple(path for path in others[NO_IMAGE] if path not in read)}
    return recognised_in(files, row, listed(files, images, entries), others)


def _lists(files: Files) -> list[str]:
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
    return value


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
