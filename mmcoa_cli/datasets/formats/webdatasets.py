"""Datasets as webdataset shards: `s0000001.jpg` beside `s0000001.cls` (its label) or `s0000001.txt` (its captions, one
a line); `classnames.txt` names the classes in the order of the labels.

Files of one sample share their name up to the first dot, and where names have more dots, as much of it as there is:
each label gets its own image, or the dataset is refused.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from store.errors import UserError

from ...catalog import DatasetRow
from ..files import Files, LeftOut, images_among, is_image, joined
from ..samples import Recognised, is_own, of_captions
from ..sources.nested_archives import is_shard, sample_key
from .class_folders import find_classes
from .hub_layouts import (
    NO_SPLIT,
    OTHER_SPLIT,
    HubLayout,
    Label,
    Raw,
    our_splits,
    recognised_in,
    require_one_configuration,
    splits_of,
)

MAX_TEXT = 1 << 20  # bytes of a label, of captions, of the list of class names
MAX_DIGITS = 9  # of a label
NO_LABEL, NO_IMAGE, AUXILIARY = "an image without a label", "a label without an image", "another image of a sample"
NAMES = "classnames.txt"
LABEL_KEYS = ("cls", "label", "labels", "class", "target", "fine_label")  # in a sample's JSON
_PAIRS = "name the files of a sample alike: x.jpg beside x.cls"


@dataclass
class Pairs:
    """The samples, as an image and the file of its label; and the files that are no part of one."""

    samples: list[tuple[str, str]] = field(default_factory=list)
    no_label: list[str] = field(default_factory=list)
    no_image: list[str] = field(default_factory=list)
    auxiliary: list[str] = field(default_factory=list)

    @property
    def left_out(self) -> LeftOut:
        return {NO_LABEL: tuple(self.no_label), NO_IMAGE: tuple(self.no_image), AUXILIARY: tuple(self.auxiliary)}


def find(files: Files, row: DatasetRow, *, scratch: Path, stack: ExitStack) -> Recognised | None:
    """The samples of shards, or of files that lie as in shards."""
    row = of_captions(row) if is_own(row) and _has_captions(files) else row
    return recognised_in(_layout(files, row), row, total=files.total) if _is_webdataset(files, row) else None


def _has_captions(files: Files) -> bool:
    """Whether samples have texts and no labels. Files that do not lie in shards may be anything where their folders are
    classes."""
    texts = [path for path in files.sizes if path.lower().endswith(".txt") and path.rpartition("/")[2] != NAMES]
    if not texts or any(path.lower().endswith(".cls") for path in files.sizes):
        return False
    images = [path for path in files.sizes if is_image(path)]
    if not {_stem(path) for path in images} & {_stem(path) for path in texts} or _has_labels_in_json(files):
        return False
    if files.shards or _is_one_shard(files):
        return True
    try:
        find_classes(images, title=files.title)
    except UserError:
        return True
    return False


def _has_labels_in_json(files: Files) -> bool:
    """Whether the first sample's JSON holds a label."""
    path = next((path for path in files.sizes if path.lower().endswith(".json")), "")
    try:
        document = json.loads(files.read(path, at_most=MAX_TEXT)) if path else None
    except (UserError, ValueError, RecursionError):
        document = None
    return isinstance(document, dict) and any(key in document for key in LABEL_KEYS)


def _is_webdataset(files: Files, row: DatasetRow) -> bool:
    """Whether there are samples: files of labels, or archives that hold some."""
    endings = (".cls", ".txt") if row.captions else (".cls",)
    return bool(files.shards) or _is_one_shard(files) or any(path.lower().endswith(endings) for path in files.sizes)


def _is_one_shard(files: Files) -> bool:
    return files.root is None and is_shard(files)


def _layout(files: Files, row: DatasetRow) -> HubLayout:
    """Raises UserError for samples that are not of one image and one label each, and for shards of several
    configurations."""
    ending = ".txt" if row.captions else _label_ending(files)
    pairs = _paired(files, ending)
    if not pairs.samples:
        what = f"no image beside its {ending} files" if ending != ".json" else "images without .cls files"
        raise UserError(
            f"{files.title} has {what}",
            hint="it takes x.jpg beside x.cls, a class's number or name, or x.txt, its captions",
        )
    shards = {image: _shard_of(image, files) for image, _ in pairs.samples}
    said = _splits(files, set(shards.values()))
    ours = our_splits(sorted({split for split in said.values() if split}), row)
    if not ours:
        raise UserError(f"{files.title} has none of the splits {', '.join(row.hub_splits)}", hint="see --from")
    samples: dict[str, list[tuple[str, str]]] = {split: [] for split in ours.values()}
    unread: dict[str, list[str]] = {NO_SPLIT: [], OTHER_SPLIT: []}
    for image, text in pairs.samples:
        split = said[shards[image]]
        if split is None or split not in ours:
            unread[OTHER_SPLIT if split else NO_SPLIT].append(image)
        else:
            samples[ours[split]].append((image, text))

    def raw() -> Iterator[Raw]:
        for split, own in samples.items():
            for image, text in own:
                yield Raw(split, files.image(image), _value(files, text, image, captions=bool(row.captions)))

    def labels() -> Iterator[Label]:
        return (Label(_value(files, text, i, captions=False), i) for own in samples.values() for i, text in own)

    return HubLayout(
        files.title,
        _class_names(files),
        raw,
        labels,
        {split: len(own) for split, own in samples.items() if own},
        " (the labels in .json files, as there is no .cls file)" if ending == ".json" else "",
        joined(pairs.left_out, {r: tuple(paths) for r, paths in unread.items()}, _others(files, pairs), files.left_out),
    )


def _label_ending(files: Files) -> str:
    return ".cls" if any(path.lower().endswith(".cls") for path in files.sizes) else ".json"


def _shard_of(path: str, files: Files) -> str:
    """The archive that a sample lies in, else its folder."""
    folder = path.rpartition("/")[0]
    above = folder
    while above and above not in files.shards:
        above = above.rpartition("/")[0]
    return above if above in files.shards else folder


def _splits(files: Files, shards: Iterable[str]) -> dict[str, str | None]:
    """The split of each shard, or folder of samples: never what a sample's own name says."""
    places = sorted(shards)
    archives = [place for place in places if place in files.shards]
    require_one_configuration(files, [f"{place}.tar" for place in archives])
    names = {f"{place}.tar" if place in files.shards else f"{place}/".lstrip("/"): place for place in places}
    archive = files.title if files.root is None else ""
    return {names[name]: split for name, split in splits_of(list(names), archive=archive).items()}


def _paired(files: Files, ending: str) -> Pairs:
    """Each label with its image. Raises UserError where there are two to choose from."""
    pairs = Pairs()
    for _, group in groupby(files.sizes, sample_key):  # in the order of their paths, those of a key follow each other
        own = list(group)
        labels = [path for path in own if path.lower().endswith(ending) and path.rpartition("/")[2] != NAMES]
        _pair(pairs, list(filter(is_image, own)), labels, title=files.title)
    return pairs


def _pair(pairs: Pairs, images: Sequence[str], labels: Sequence[str], *, title: str) -> None:
    """The files whose names are alike up to the first dot."""
    by_stem: dict[str, list[str]] = {}
    for image in images:
        by_stem.setdefault(_stem(image), []).append(image)
    taken: dict[str, str] = {}
    for label in labels:
        own = by_stem.get(_stem(label), [])
        if not own and len(labels) == 1 and _stem(label) == sample_key(label):  # x.cls beside x.rgb.png and the like
            own = list(images)
        if len(own) > 1 or (own and own[0] in taken):
            what = " and ".join([*own, label, *([taken[own[0]]] if own[0] in taken else [])][:3])
            raise UserError(f"{title}: which of these are one sample: {what}?", hint=_PAIRS)
        if own:
            taken[own[0]] = label
            pairs.samples.append((own[0], label))
        else:
            pairs.no_image.append(label)
    stems = {_stem(image) for image in taken}
    for image in images:
        if image not in taken:
            beside = any(_stem(image).startswith(f"{stem}.") for stem in stems)
            (pairs.auxiliary if beside or stems & {sample_key(image)} else pairs.no_label).append(image)


def _stem(path: str) -> str:
    return path.rpartition(".")[0]


def _value(files: Files, path: str, image: str, *, captions: bool) -> Any:
    """The captions in a file, or the label: a number or a name. Raises UserError where there is no one label in it."""
    text = files.read(path, at_most=MAX_TEXT).decode("utf8", errors="replace").strip()
    if captions:
        return [line for line in text.splitlines() if line.strip()]
    title = f"{files.title}: {image}"
    label = _in_json(text, title) if path.lower().endswith(".json") else text
    if isinstance(label, int):
        return label
    if label.isascii() and label.isdigit() and len(label) <= MAX_DIGITS:
        return int(label)
    if not label or len(label.splitlines()) > 1 or len(label) > 200 or _is_number(label):
        raise UserError(f"{title}: {label[:40]!r} is no label", hint="it takes a class's number, from 0, or its name")
    return unicodedata.normalize("NFC", label)


def _in_json(text: str, title: str) -> int | str:
    """The label in the JSON of a sample. Raises UserError where that holds none, or several."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    found = {key: document[key] for key in LABEL_KEYS if key in document} if isinstance(document, dict) else {}
    if len(found) == 1 and type(label := next(iter(found.values()))) in (int, str):
        return label if isinstance(label, int) else str(label)
    what = ", ".join(f"{key}: {value!r}"[:40] for key, value in found.items()) or "no label"
    raise UserError(
        f"{title}: its .json holds {what}, and there is no .cls file beside it",
        hint='it takes x.cls, a file of the label alone, or {"label": 3} in x.json',
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _class_names(files: Files) -> tuple[str, ...]:
    """The names in the outermost classnames.txt. Raises UserError where another says something else."""
    found = sorted((p for p in files.sizes if p.rpartition("/")[2] == NAMES), key=lambda path: path.count("/"))
    lists = {path: _lines(files, path) for path in found}
    for path in found[1:]:
        if lists[path] != lists[found[0]]:
            raise UserError(
                f"{files.title}: {found[0]} and {path} differ", hint="give --from the folder of one of them"
            )
    return lists[found[0]] if found else ()


def _lines(files: Files, path: str) -> tuple[str, ...]:
    lines = files.read(path, at_most=MAX_TEXT).decode("utf8", errors="replace").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def _others(files: Files, pairs: Pairs) -> LeftOut:
    """The files that are neither images nor of a sample."""
    own = {text for _, text in pairs.samples} | set(pairs.no_image)
    images, others = images_among(files)
    by_content = tuple(path for path in images if not is_image(path))  # they have no name that a label could share
    return {
        NO_LABEL: by_content,
        **{
            reason: tuple(path for path in paths if path not in own and path.rpartition("/")[2] != NAMES)
            for reason, paths in others.items()
        },
    }
