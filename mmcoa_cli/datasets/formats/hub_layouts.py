"""Datasets in the layouts of the Hugging Face hub: parquet with an image and a label column, and webdataset shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from store.errors import UserError

from ...catalog import DatasetRow
from ..decoding import Encoded, common_size
from ..files import LeftOut
from ..samples import Labels, Recognised, Sample
from ..splits import SPLITS, natural
from .captions import checked
from .image_folders import require_classes, sized


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
            yield Sample(split, image, captions=checked(value, row, image.path))
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
