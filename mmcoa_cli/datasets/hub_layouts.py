"""Datasets in the layouts of the Hugging Face hub: parquet with an image and a label column, and webdataset shards.

In a webdataset the files of one sample share their name up to the first dot: `s0000001.jpg` beside `s0000001.cls` (its
label) or `s0000001.txt` (its captions, one a line); `classnames.txt` names the classes in the order of the labels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from store.errors import UserError

from ..catalog import DatasetRow
from ..prompts import clean_name
from .decoding import MAX_IMAGE, Encoded, common_size
from .files import Files, is_image
from .image_folders import sized
from .samples import SPLITS, Labels, Sample

MAX_TEXT = 1 << 20  # bytes of a label, of captions, of the list of class names
IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "cls", "target")
CAPTION_COLUMNS = ("captions", "caption", "sentences", "text")
ROWS = 64  # of a parquet file, read at a time

Raw = tuple[str, Encoded, Any]  # split, image, label (a number or a name) or captions


@dataclass(frozen=True)
class HubLayout:
    """`names` are the classes in the order of their numbers, where the layout has them; `splits` those that are there;
    `raw` gives the samples of one of them as they are; `counts` is how many images each of our splits gets."""

    title: str
    names: tuple[str, ...]
    splits: tuple[str, ...]
    raw: Callable[[str], Iterator[Raw]]
    counts: Mapping[str, int]


def find_hub_layout(files: Files, row: DatasetRow) -> HubLayout | None:
    """The layout of `files`, None where it is neither of the two."""
    if any(path.endswith(".parquet") for path in files.sizes):
        return _parquet(files, row)
    if any(path.endswith(".cls") or (row.captions and path.endswith(".txt")) for path in files.sizes):
        return _webdataset(files, row)
    return None


def describe_hub(layout: HubLayout, row: DatasetRow) -> DatasetRow:
    """`row`, of a dataset that the catalog does not have, completed by the classes and image size of `layout`.

    Raises UserError where the labels are numbers without names.
    """
    names = row.class_names or layout.names
    if not names:
        labels = {raw[2] for split in layout.splits for raw in layout.raw(split)}
        if not all(isinstance(label, str) for label in labels):
            raise UserError(
                f"{layout.title} numbers its classes and does not name them",
                hint=f"mmcoa fetch {row.name} --from PATH --class-names FILE, one name a line, in their order",
            )
        names = tuple(sorted(labels))
    if len(set(map(clean_name, names))) < len(names):
        raise UserError(f"two classes of {layout.title} have the same name in prompts", hint="--class-names FILE")
    size = common_size(image for split in layout.splits for _, image, _ in layout.raw(split))
    return sized(row, size, class_names=names)


def read_hub(layout: HubLayout, row: DatasetRow) -> Iterator[Sample]:
    """Every sample of the splits that are read. Raises UserError for a label that is no class of `row`."""
    known = Labels(row)
    ours = known.of_order(list(layout.names), title=layout.title) if layout.names and row.class_names else None
    for split in layout.splits:
        for to, image, value in layout.raw(split):
            if row.captions:
                lines = value if isinstance(value, list) else [value]
                captions = tuple(str(line).strip() for line in lines[: row.captions])
                if len(captions) < row.captions:
                    raise UserError(
                        f"{image.path} has {len(captions)} captions, not {row.captions}", hint="see its source"
                    )
                yield Sample(to, image, captions=captions)
                continue
            label = _label(value, ours, known, row, f"{layout.title}: {image.path}")
            if label is not None:
                yield Sample(to, image, label)


def _label(value: Any, ours: Sequence[int | None] | None, known: Labels, row: DatasetRow, title: str) -> int | None:
    if isinstance(value, str):
        return known.of(value, title=title)
    numbers = range(len(row.class_names)) if ours is None else ours
    if not isinstance(value, int) or not 0 <= value < len(numbers):
        raise UserError(f"{title}: {value!r} is no label in 0..{len(numbers) - 1}", hint="is it another dataset?")
    return numbers[value]


def _our_splits(theirs: Sequence[str], row: DatasetRow) -> dict[str, str]:
    """Which of `theirs` is read as which of ours: as the row says, else `val` as `test` where there is no test."""
    if row.hub_splits:
        wanted = {SPLITS.get(name, name): ours for name, ours in row.hub_splits.items()}
        return {name: wanted[SPLITS[name]] for name in theirs if SPLITS[name] in wanted}
    ours = {name: SPLITS[name] for name in theirs}
    if "test" not in ours.values():
        ours = {name: "test" if split == "val" else split for name, split in ours.items()}
    return ours


def _split_in(path: str) -> str:
    """The split that a file's path names, "test" where it names none."""
    return next((word for word in re.split(r"[/\-_.]", path.lower()) if word in SPLITS), "test")


# ---------------------------------------------------------------------------------------------------------- parquet


def _parquet(files: Files, row: DatasetRow) -> HubLayout:
    import pyarrow.parquet

    shards = [path for path in files.sizes if path.endswith(".parquet")]
    splits = _our_splits(sorted({_split_in(path) for path in shards}), row)
    shards = [path for path in shards if _split_in(path) in splits]
    if not shards:
        raise UserError(f"{files.title} has none of the splits {', '.join(row.hub_splits)}", hint="see --from")
    with _arrow_errors(files.title), files.open(shards[0]) as file:
        schema = pyarrow.parquet.ParquetFile(file).schema_arrow
    image = _column(schema, IMAGE_COLUMNS, "image", files.title)
    value = _column(schema, CAPTION_COLUMNS if row.captions else LABEL_COLUMNS, "label", files.title)

    def raw(split: str) -> Iterator[Raw]:
        for path in shards:
            if _split_in(path) == split:
                for number, (data, found) in enumerate(_rows(files, path, image, value)):
                    yield splits[split], Encoded(f"{path}, row {number}", lambda data=data: data), found  # type: ignore[misc]

    counts: dict[str, int] = {}
    for path in shards:
        with _arrow_errors(path), files.open(path) as file:
            split = splits[_split_in(path)]
            counts[split] = counts.get(split, 0) + pyarrow.parquet.ParquetFile(file).metadata.num_rows
    return HubLayout(files.title, _class_label(schema, value), tuple(splits), raw, counts)


def _column(schema: Any, wanted: Sequence[str], what: str, title: str) -> str:
    found = next((name for name in wanted if name in schema.names), None)
    if found is None:
        raise UserError(f"{title} has no {what} column among {', '.join(schema.names)}", hint=f"call it {wanted[0]!r}")
    return found


def _class_label(schema: Any, column: str) -> tuple[str, ...]:
    """The names that a Hugging Face `ClassLabel` gives the numbers of a column; empty without one."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()


def _rows(files: Files, path: str, image: str, value: str) -> Iterator[tuple[bytes, Any]]:
    import pyarrow.parquet

    with _arrow_errors(path), files.open(path) as file:
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=ROWS, columns=[image, value]):
            for data, found in zip(batch.column(image).to_pylist(), batch.column(value).to_pylist(), strict=True):
                data = data.get("bytes") if isinstance(data, dict) else data
                if not isinstance(data, bytes) or len(data) > MAX_IMAGE:
                    raise UserError(f"{path} has a row without an image in it", hint="it takes images as bytes")
                yield data, found


@contextmanager
def _arrow_errors(title: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's trouble; damage has no number
            raise
        reason = f"{error or type(error).__name__}".splitlines()[0]
        raise UserError(f"{title} is damaged: {reason}", hint="download it again") from error


# ------------------------------------------------------------------------------------------------------- webdataset


def _webdataset(files: Files, row: DatasetRow) -> HubLayout:
    ending = ".txt" if row.captions else ".cls"
    images = {_key(path): path for path in files.sizes if is_image(path)}
    samples = [(images[_key(path)], path) for path in files.sizes if path.endswith(ending) and _key(path) in images]
    if not samples:
        raise UserError(f"{files.title} has no image beside its {ending} files", hint="it takes x.jpg beside x.cls")
    splits = _our_splits(sorted({_split_in(image) for image, _ in samples}), row)
    counts: dict[str, int] = {}
    for image, _ in samples:
        if _split_in(image) in splits:
            split = splits[_split_in(image)]
            counts[split] = counts.get(split, 0) + 1

    def raw(split: str) -> Iterator[Raw]:
        for image, text in samples:
            if _split_in(image) == split:
                found = files.read(text, at_most=MAX_TEXT).decode(errors="replace").strip()
                value = found.splitlines() if row.captions else int(found) if found.isdecimal() else found
                yield splits[split], files.image(image), value

    return HubLayout(files.title, _class_names(files), tuple(splits), raw, counts)


def _key(path: str) -> str:
    """A path up to the first dot of the file's name: what the files of one sample share."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _class_names(files: Files) -> tuple[str, ...]:
    path = next((path for path in files.sizes if path.rpartition("/")[2] == "classnames.txt"), None)
    if path is None:
        return ()
    lines = files.read(path, at_most=MAX_TEXT).decode(errors="replace").splitlines()
    return tuple(line.strip() for line in lines if line.strip())
