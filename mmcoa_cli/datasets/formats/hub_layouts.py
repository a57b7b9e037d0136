"""Datasets in the layouts of the Hugging Face hub, parquet with an image and a label column, and webdataset shards:
which split each file of many samples is, whether they are one configuration, and what classes they have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from itertools import islice
from typing import Any, NamedTuple

from store.errors import UserError

from ...catalog import DatasetRow
from ..decoding import Encoded, common_size
from ..files import Files, LeftOut
from ..samples import (
    SPLITS,
    Labels,
    Recognised,
    Sample,
    captions_in,
    natural,
    split_in_name,
    split_of_path,
    without_splits,
)
from .image_folders import require_classes, sized

NO_SPLIT = "names no split, as others do"
OTHER_SPLIT = "of a split that is not read"
MAX_README = 1 << 20  # bytes
MAX_PATTERNS = 1000  # of one configuration


class Raw(NamedTuple):
    """One sample as it is there: its image, and its label (a number or a name) or captions."""

    split: str
    image: Encoded
    value: Any


class Label(NamedTuple):
    """A label as it is there, and where: `test.parquet, row 3`."""

    value: Any
    place: str


@dataclass(frozen=True)
class HubLayout:
    """`names` are the classes in the order of their numbers, where the layout has them; `raw` gives the samples of all
    splits that are read, `labels` their labels alone; `counts` is how many images each of our splits gets."""

    title: str
    names: tuple[str, ...]
    raw: Callable[[], Iterator[Raw]]
    labels: Callable[[], Iterator[Label]]
    counts: Mapping[str, int]
    note: str = ""  # where its labels are from, if that is not plain
    left_out: LeftOut = field(default_factory=dict)


def recognised_in(layout: HubLayout, row: DatasetRow, *, total: int) -> Recognised:
    """The samples of `layout`, of `total` bytes; a row without classes is completed with those it has."""
    full = row if row.splits and (row.class_names or row.captions) else _described(layout, row)
    return Recognised(full, _samples(layout, full), total, sum(layout.counts.values()), layout.left_out)


def _described(layout: HubLayout, row: DatasetRow) -> DatasetRow:
    """`row`, of a dataset that the catalog does not have, completed by the classes and image size of `layout`.

    Raises UserError where the labels are numbers without names, or something else than labels; for a single class, and
    for classes that are not as many as the row names or cannot be told apart in prompts.
    """
    if row.captions:
        return sized(row, common_size(raw.image for raw in layout.raw()))
    theirs = layout.names or _label_names(layout, row)
    names = row.class_names or theirs
    if not names:
        raise UserError(
            f"{layout.title} numbers its classes and does not name them{layout.note}",
            hint=f"mmcoa fetch {row.name} --from PATH --class-names FILE, one name a line, in their order",
        )
    theirs = theirs or names
    if len(theirs) == 1:
        raise UserError(
            f"{layout.title} has a single class, {theirs[0]}: all would be right", hint="is that all of it?"
        )
    require_classes(names, theirs, title=layout.title)
    size = common_size(raw.image for raw in layout.raw())
    return sized(row, size, class_names=names, folders=theirs)


def _label_names(layout: HubLayout, row: DatasetRow) -> tuple[str, ...]:
    """The labels themselves where they are names, in the order in which people count; nothing where they are numbers.

    Raises UserError for a label that is neither, and for some of both.
    """
    first: dict[type, Label] = {}
    names = set()
    for label in layout.labels():
        kind = type(label.value)
        if kind not in (int, str) or label.value == "":
            raise UserError(f"{layout.title}: {label.place}: {label.value!r} is no label", hint=_LABELS)
        if len(first) < len({*first, kind}):
            first[kind] = label
        if kind is str:
            names.add(label.value)
    if len(first) > 1:
        seen = " and ".join(f"{label.value!r} ({label.place})" for label in first.values())
        raise UserError(f"{layout.title} has numbers and names as labels: {seen}", hint=_LABELS)
    return tuple(sorted(names, key=natural))


_LABELS = "each sample takes one label: a class's number, from 0, or its name"


def _samples(layout: HubLayout, row: DatasetRow) -> Iterator[Sample]:
    """Every sample of the splits that are read. Raises UserError for a label that is no class of `row`."""
    known = Labels(row)
    ours = known.of_order(list(layout.names), title=layout.title) if layout.names and row.class_names else None
    for split, image, value in layout.raw():
        if row.captions:
            yield Sample(split, image, captions=captions_in(value, row, image.path))
            continue
        label = _label(value, ours, known, row, f"{layout.title}: {image.path}")
        if label is not None:
            yield Sample(split, image, label)


def _label(value: Any, ours: Sequence[int | None] | None, known: Labels, row: DatasetRow, title: str) -> int | None:
    if isinstance(value, str):
        return known.of(value, title=title)
    numbers = range(len(row.class_names)) if ours is None else ours
    if type(value) is not int or not 0 <= value < len(numbers):
        hint = "is it another dataset?"
        if value == -1:
            hint = (
                "-1 marks images without labels, as a test set of the hub has: give --from a folder without that file"
            )
        elif value == len(numbers):
            hint = "are the classes numbered from 1? it takes numbers from 0"
        raise UserError(f"{title}: {value!r} is no label in 0..{len(numbers) - 1}", hint=hint)
    return numbers[value]


def our_splits(theirs: Sequence[str], row: DatasetRow) -> dict[str, str]:
    """Which of `theirs` is read as which of ours: as the row says, else `val` as `test` where there is no test."""
    if row.hub_splits:
        wanted = {SPLITS.get(name, name): ours for name, ours in row.hub_splits.items()}
        return {name: wanted[name] for name in theirs if name in wanted}
    return {name: "test" if name == "val" and "test" not in theirs else name for name in theirs}


def splits_of(shards: Sequence[str], *, archive: str = "") -> dict[str, str | None]:
    """The split that each shard's own name says, else the innermost of its folders that says one, else the name of the
    archive that they are in; all are the test set where none says any. Raises UserError for a name that says two, and
    for an archive whose folders say others than its name."""
    found = {path: split_of_path(path.split("/")[:-1], path.rpartition("/")[2]) for path in shards}
    said = {split for split in found.values() if split}
    own = split_in_name(archive)
    if said and own and own not in said:
        raise UserError(
            f"{archive} holds {', '.join(sorted(said))}: which of them is it?", hint="rename it or its folders"
        )
    return found if said else dict.fromkeys(shards, own or "test")


def require_one_configuration(files: Files, shards: Sequence[str]) -> None:
    """Raises UserError where the README names several configurations of these shards, or where they lie in folders that
    are no splits."""
    configurations = {name: found for name, found in _configurations(files, shards).items() if found}
    if len(configurations) > 1 and len(set(configurations.values())) > 1:
        few = ", ".join(f"{name} ({found[0]})" for name, found in list(configurations.items())[:3])
        raise UserError(
            f"{files.title} has {len(configurations)} configurations: {few}", hint="give --from a folder of one of them"
        )
    folders: dict[str, str] = {}
    for path in shards:
        folders.setdefault(without_splits(path.split("/")[:-1]), path)
    if len(folders) > 1:
        few = ", ".join(f"{folder or '.'}/ ({path})" for folder, path in list(folders.items())[:3])
        one = next(folder for folder in folders if folder)
        raise UserError(
            f"{files.title} has several configurations, or datasets: {few}",
            hint=f"give --from the folder of one of them: --from {files.root / one if files.root else one}",
        )


def _configurations(files: Files, shards: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Which of `shards` each configuration has that the README of a repository names."""
    found: dict[str, tuple[str, ...]] = {}
    for one in _named_configurations(files):
        if isinstance(one, dict) and isinstance(one.get("config_name"), str):
            patterns = list(islice(_patterns(one.get("data_files")), MAX_PATTERNS))  # YAML's aliases can make many
            found[one["config_name"]] = tuple(p for p in shards if any(fnmatch(p, pattern) for pattern in patterns))
    return found


def _patterns(data_files: Any) -> Iterator[str]:
    """The patterns of "a", ["a"], [{"split": "train", "path": "a"}] or {"train": "a"}."""
    if isinstance(data_files, str):
        yield data_files
    elif isinstance(data_files, dict):
        yield from _patterns(data_files.get("path", list(data_files.values())))
    elif isinstance(data_files, list):
        for one in data_files:
            yield from _patterns(one)


def _named_configurations(files: Files) -> list[Any]:
    """What the hub's README says of them; nothing where there is none."""
    from huggingface_hub import RepoCard

    path = next((path for path in files.sizes if path.lower() == "readme.md"), None)
    if path is None or files.sizes[path] > MAX_README:
        return []
    text = files.read(path, at_most=MAX_README).decode("utf8", errors="replace")
    if not text.startswith("---"):
        return []
    try:
        named = RepoCard(text, ignore_metadata_errors=True).data.get("configs")
    except Exception:  # whatever the YAML parser stumbles over: it says nothing then
        return []
    return named if isinstance(named, list) else []
