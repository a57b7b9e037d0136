"""What a dataset in the store is, in a few lines or as one document: what `fetch` understood, and what `show` shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from store.dataset_info import DatasetInfo
from store.datasets import Dataset

from .. import catalog
from .library import ORDER
from .prompts import class_prompts

FEW, SEVERAL = 3, 10  # how many of many are named, and how many are no more than several
LONGEST = 72  # characters of a name


@dataclass(frozen=True)
class Summary:
    """What the file of a dataset says of it; `per_class` is the fewest and the most images of a class, for each split,
    and `captions` how many there are, and the fewest and the most of an image;
    `own` is False for a dataset of the catalog."""

    info: DatasetInfo
    per_class: dict[str, tuple[int, int]]
    own: bool
    captions: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """All of it, as `--json` prints it."""
        info = self.info
        folders = info.folders or info.class_names
        return {
            "classes": [{"folder": f, "name": n} for f, n in zip(folders, info.class_names, strict=True)],
            "captions": info.captions,
            "captions_of_splits": {split: count for split, (count, _, _) in self.captions.items()},
            "splits": info.splits,
            "images_a_class": self.per_class,
            "part": info.parts,
            "template": info.template,
            "attacked_at": info.pixel_size,
            "resized_to": info.resize,
            "orientation": "applied" if info.oriented else "as stored",
            "changes": info.changes,
            "left_out": [
                {"reason": reason, "count": count, "files": info.left_out.get(reason, [])}
                for reason, count in info.left_out_counts.items()
            ],
            "source": info.source,
            "licence": info.licence,
        }

    def lines(self) -> Iterator[tuple[str, str]]:
        """What a person should see: a title and its text, a line each. Of a dataset of the catalog only what is not in
        the catalog."""
        info = self.info
        if self.own and info.class_names:
            yield "classes", f"{len(info.class_names):,}: {_few(_named_classes(info))}"
        yield "images", ", ".join(self._images())
        if info.captions and self.own:
            yield "captions", ", ".join(self._captions())
        if info.parts:
            yield "a part", in_words(info.parts)
        if self.own:
            size, of = info.pixel_size, f"the shorter side at {info.resize}, then the centre"
            yield "attacked at", f"{size} x {size} pixels ({of if info.resize else 'their own size'})"
        if self.own and info.class_names:
            yield "prompt", f'"{class_prompts(info.class_names[:1], info.template)[0]}"'
        if info.changes:
            images = sorted(info.changes.items(), key=lambda one: -one[1])
            yield "applied", "; ".join(f"{n:,} image{'s' * (n > 1)} {what}" for what, n in images)
        if info.left_out_counts:
            yield "left out", "; ".join(self._left_out())

    def _images(self) -> Iterator[str]:
        for split in sorted(self.info.splits, key=ORDER.index):
            least, most = self.per_class.get(split, (0, 0))
            yield f"{self.info.splits[split]:,} {split}" + (f" ({_range(least, most)} a class)" if most else "")

    def _captions(self) -> Iterator[str]:
        for split in sorted(self.captions, key=ORDER.index):
            count, least, most = self.captions[split]
            yield f"{count:,} {split} ({_range(least, most)} an image)"

    def _left_out(self) -> Iterator[str]:
        for reason, count in self.info.left_out_counts.items():
            names = self.info.left_out.get(reason, [])
            yield f"{reason}: {count:,} ({_few(names, of=count)})"


def _range(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def in_words(parts: Mapping[str, str]) -> str:
    """What is not the whole of each split, on one line."""
    return "; ".join(f"{split}: {part}" for split, part in parts.items())


def summary_of(dataset: Dataset) -> Summary:
    """The summary of an open dataset."""
    info, per_class = dataset.info, {}
    for split in info.splits if info.class_names else ():
        counts = np.bincount(dataset.labels(split), minlength=len(info.class_names))
        per_class[split] = (int(counts.min()), int(counts.max()))
    captions = {}
    for split in info.splits if info.captions else ():
        each = [len(lines) for lines in dataset.captions(split)]
        captions[split] = (sum(each), min(each, default=0), max(each, default=0))
    return Summary(info, per_class, captions=captions, own=info.name not in catalog.datasets())


def _named_classes(info: DatasetInfo) -> list[str]:
    folders = info.folders or info.class_names
    pairs = zip(folders, info.class_names, strict=True)
    return [name if folder == name else f"{folder} -> {name}" for folder, name in pairs]


def _few(names: Sequence[str], *, of: int | None = None) -> str:
    """All of several names, else the first few of them."""
    count = of if of is not None else len(names)
    shown: Iterable[str] = names if count <= SEVERAL and count == len(names) else names[:FEW]
    rest = count - len(list(shown))
    return ", ".join(map(_short, shown)) + (f" and {rest:,} more" if rest else "")


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 3]}...{name[-LONGEST // 2 :]}"
