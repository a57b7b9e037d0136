"""Datasets that torchvision reads: which images belong to which split and class stands in lists that its classes know.

torchvision wants a folder of its own layout: wherever the dataset's files are, a link where it looks leads to them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from store.errors import UserError

from ...catalog import DatasetRow, Torchvision
from ..decoding import MAX_IMAGE, Encoded
from ..files import Files
from ..library import ORDER
from ..samples import Labels, Recognised, Sample
from ..sources.archives import unpacked

Listed = tuple[str, Path, int]  # split, image, label


def find(files: Files, row: DatasetRow, *, scratch: Path, stack: ExitStack) -> Recognised | None:
    """The samples that torchvision's class of the row lists, where the files lie as it wants them."""
    base = _base_folder(files, row.torchvision)
    if base is None:
        return None
    root = stack.enter_context(_root(files, row, base=base, scratch=scratch))
    listed = _list(root, files, row)
    samples = (Sample(s, Encoded(path.name, partial(_bytes, path, files.title)), label) for s, path, label in listed)
    return Recognised(row, samples, files.total, len(listed), files.left_out)


def _base_folder(files: Files, how: Torchvision | None) -> str | None:
    """The folder among `files` that torchvision's class reads, "" for the whole; None where it is not there."""
    if how is None:
        return None
    bases = [path[: -len(how.marker)] for path in files.sizes if f"/{path}".endswith(f"/{how.marker}")]
    if not bases:
        return None

    def own(base: str) -> int:  # the files of `base` that no folder like it below it has
        below = tuple(other for other in bases if len(other) > len(base))
        return sum(path.startswith(base) and not path.startswith(below) for path in files.sizes)

    return max(bases, key=own).rstrip("/")


@contextmanager
def _root(files: Files, row: DatasetRow, *, base: str, scratch: Path) -> Iterator[Path]:
    """A root as torchvision's class of the row expects it: a link to where the dataset lies, unpacked if it is not."""
    assert row.torchvision is not None
    with unpacked(files, scratch=scratch) as folder, TemporaryDirectory(dir=scratch, prefix="root-") as root:
        link = Path(root, row.torchvision.folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((folder / base).resolve(), target_is_directory=True)
        yield Path(root)


def _list(root: Path, files: Files, row: DatasetRow) -> list[Listed]:
    """What torchvision's class of the row lists and is there, in the order of splits, classes and paths.

    Raises UserError where the class finds the folder incomplete, or lists classes that are not the row's.
    """
    how = row.torchvision
    assert how is not None
    try:
        listed = _listed(root, row, how, files=files)
    except (RuntimeError, OSError, ValueError, LookupError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{files.title} is incomplete: {reason}", hint="download it again") from error
    for _, path, _ in listed:
        if not Path(os.path.normpath(path)).is_relative_to(root):
            raise UserError(f"{files.title} lists the unsafe path {path.name!r}", hint="do not trust this archive")
    there = [one for one in listed if one[1].is_file()]  # a part of the dataset lacks some of what its lists name
    return sorted(there, key=lambda one: (ORDER.index(one[0]), one[2], str(one[1])))


def _listed(root: Path, row: DatasetRow, how: Torchvision, *, files: Files) -> list[Listed]:
    from torchvision import datasets

    of_class: Any = getattr(datasets, how.name)
    loader = {"loader": Path} if "loader" in signature(of_class).parameters else {}
    if how.lists:
        return _by_lists(_labelled(of_class(root, **loader), row), root / how.folder, how, files=files)
    return [
        (ours, path, label)
        for theirs, ours in how.splits.items()
        for path, label in _labelled(of_class(root, split=theirs, **loader), row)
    ]


def _labelled(dataset: Any, row: DatasetRow) -> list[tuple[Path, int]]:
    """The path and our label of each image of a torchvision dataset whose loader is `Path`, or that has no loader."""
    ours = Labels(row).of_order(list(dataset.classes), title=type(dataset).__name__)
    found: Iterator[tuple[Path, int]]
    if hasattr(dataset, "loader"):
        found = (dataset[number] for number in range(len(dataset)))
    else:  # OxfordIIITPet
        found = zip(dataset._images, dataset._labels, strict=True)
    return [(path, label) for path, theirs in found if (label := ours[theirs]) is not None]


def _by_lists(images: list[tuple[Path, int]], base: Path, how: Torchvision, *, files: Files) -> list[Listed]:
    """The images that the lists of the splits name; without lists all of them, as the test set."""
    lists = {split: [p for p in files.sizes if f"/{p}".endswith(f"/{name}")] for split, name in how.lists.items()}
    if not all(lists.values()):
        return [("test", path, label) for path, label in images]
    by_name = {path.relative_to(base).as_posix(): (path, label) for path, label in images}
    found = []
    for split, paths in lists.items():
        names = files.read(paths[0], at_most=MAX_IMAGE).decode().split()
        found += [(split, *by_name[name.lstrip("/")]) for name in names if name.lstrip("/") in by_name]
    return found


def _bytes(path: Path, title: str) -> bytes:
    if path.stat().st_size > MAX_IMAGE:
        raise UserError(f"{path.name} in {title} is too large for an image", hint="remove it")
    return path.read_bytes()
