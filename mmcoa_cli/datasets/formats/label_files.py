"""Files beside class folders that may say other labels, or names, than the folders do. They are not read: a dataset
that has one is refused, unless it says the same, or the names of the classes are given."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath
from typing import Any

from store.errors import UserError

from ..files import Files
from ..prompts import clean_name

NOT_READ = "a file of labels or names that is not read"
NAMES = ("classes.json", "class.json")  # {"folder": "class name"}: these are read
MAX_NAMES = 16 << 20  # bytes of one
_WORDS = {
    "label", "labels", "metadata", "annotation", "annotations", "class", "classes", "classname", "classnames",
    "category", "categories", "synset", "synsets", "words", "wnid", "wnids", "targets", "groundtruth",
}  # fmt: skip
_ENDINGS = {
    ".csv", ".tsv", ".txt", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".mat", ".npy", ".pkl", ".parquet", ".xlsx"
}  # fmt: skip


def label_files(paths: Collection[str]) -> list[str]:
    """Those of `paths` whose names say that they hold labels, annotations or names of classes."""
    return [path for path in paths if _says_labels(PurePosixPath(path))]


def _says_labels(path: PurePosixPath) -> bool:
    words = set(re.split(r"[^a-z]+", path.stem.lower()))
    return path.suffix.lower() in _ENDINGS and bool(words & _WORDS) and path.name not in NAMES


def require_none_ignored(files: Files, found: Sequence[str], folders: Sequence[str]) -> None:
    """Raises UserError where one of the label files `found` does not say the names of the class folders."""
    for path in found:
        if not _agrees(files, path, folders):
            few = ", ".join(folders[:3]) + (", ..." if len(folders) > 3 else "")
            raise UserError(
                f"{files.title} has {path}, which is not read: the classes would be the folders {few}",
                hint=f"remove it; or name the classes, one a line in this order ({few}): --class-names FILE",
            )


def _agrees(files: Files, path: str, folders: Sequence[str]) -> bool:
    """Whether a file names the folders and nothing else, be it with their numbers."""
    if files.sizes[path] > MAX_NAMES:
        return False
    text = files.read(path, at_most=MAX_NAMES).decode("utf8", errors="replace")
    lines = text.splitlines()
    if path.lower().endswith(".json"):
        try:
            lines = _words(json.loads(text))
        except (ValueError, RecursionError):
            return False
    names = {clean_name(re.sub(r"^\s*\d+[\s,:;]+|[\s,:;]+\d+\s*$", "", line)) for line in lines if line.strip()}
    return names == set(map(clean_name, folders))


def _words(document: Any) -> list[str]:
    """The names of ["cat", "dog"], {"cat": 0, "dog": 1} or {"0": "cat", "1": "dog"}."""
    if isinstance(document, dict):
        document = list(document) if all(isinstance(v, int) for v in document.values()) else list(document.values())
    return document if isinstance(document, list) and all(isinstance(name, str) for name in document) else []
