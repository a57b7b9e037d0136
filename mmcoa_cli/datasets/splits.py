"""Which split the name of a file or folder says, and the order of names as people count."""

from __future__ import annotations

import re
from collections.abc import Sequence

from store.errors import UserError

SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": "val", "valid": "val", "validation": "val",
}  # fmt: skip
ORDER = ("train", "val", "test")


def splits_in_name(name: str) -> set[str]:
    """The splits whose names are words of `name`: {"train"} for "birds_train-00000-of-00001.parquet"."""
    return {SPLITS[word] for word in re.split(r"[\-_. ]", name.lower()) if word in SPLITS}


def split_in_name(name: str) -> str | None:
    """The one split that `name` says, None where that is none. Raises UserError for two."""
    said = sorted(splits_in_name(name))
    if len(said) > 1:
        raise UserError(f"{name} names the splits {' and '.join(said)}", hint="let its name say one of them")
    return said[0] if said else None


def split_of_path(folders: Sequence[str], name: str = "") -> str | None:
    """The split that a shard's own name says, else the innermost of its folders that says one.

    Raises UserError where the name says another than the folder that it lies in.
    """
    own = split_in_name(name)
    above = next((said for folder in reversed(folders) if (said := split_in_name(folder))), None)
    exact = {SPLITS[folder.lower()] for folder in folders if folder.lower() in SPLITS}
    if own and exact - {own}:
        place = "/".join((*folders, name))
        raise UserError(f"{place}: is it {own} or {' and '.join(sorted(exact))}?", hint="rename the file or the folder")
    return own or above


def without_splits(folders: Sequence[str]) -> str:
    """The path of `folders` without those that say a split."""
    return "/".join(folder for folder in folders if not splits_in_name(folder))


def natural(name: str) -> tuple[object, ...]:
    """A key that sorts class2 before class10."""
    parts = re.split(r"([0-9]+)", name)
    numbers = [(len(part.lstrip("0")), part.lstrip("0")) for part in parts[1::2]]
    return (*(piece for pair in zip(parts[::2], [*numbers, (-1, "")], strict=True) for piece in pair), name)
