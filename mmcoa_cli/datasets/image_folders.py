"""Images in folders of classes: `split/class/image`, or `class/image` where there are no splits.

The layout may lie below any number of folders. `val` is the test set where there is no `test`; without splits all
images are the test set. A `classes.json` may give the class folders other names: {"n01443537": "goldfish"}.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from store.errors import UserError

from ..catalog import DatasetRow
from ..prompts import clean_name
from .archives import Files, is_image
from .decoding import common_size
from .samples import ORDER, SPLITS, Labels, Sample

MAX_NAMES = 16 << 20  # bytes of classes.json
CROPPED = (224, 256)  # pixel size and resize of images of varying size
_LAYOUT = "it takes train/<class>/<image> and test/<class>/<image>, or <class>/<image>"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image: where it is and which class folder it lies in."""

    split: str
    folder: str
    path: str


@dataclass(frozen=True)
class Layout:
    """The images of a folder or archive, and the class names of its folders."""

    images: tuple[ImageFile, ...]
    titles: Mapping[str, str]  # class folder -> class name, in the order of the folders

    @property
    def counts(self) -> dict[str, int]:
        """The images of each split."""
        counts = Counter(image.split for image in self.images)
        return {split: counts[split] for split in ORDER if counts[split]}


def scan(files: Files, *, labels: Labels | None = None) -> Layout:
    """Find the images; those of classes that the row of `labels` says are none are left out.

    Raises UserError when there is no layout of classes.
    """
    images = [image for path in files.sizes if (image := _in_split(path)) is not None]
    images = images or [image for path in files.sizes if (image := _in_class(path, labels)) is not None]
    if labels is not None:
        images = [image for image in images if not labels.is_left_out(image.folder)]
    if not images:
        raise UserError(f"{files.title} holds no images in folders of classes", hint=_LAYOUT)
    if not any(image.split == "test" for image in images):
        images = [ImageFile("test" if i.split == "val" else i.split, i.folder, i.path) for i in images]
    names = _names_of_folders(files)
    folders = sorted({image.folder for image in images})
    return Layout(tuple(images), {folder: names.get(folder, folder) for folder in folders})


def describe(files: Files, layout: Layout, *, row: DatasetRow) -> DatasetRow:
    """`row`, of a dataset that the catalog does not have, completed: its classes, unless it names them, in the order of
    their folders; images at their own size where they all share one, else resized and cropped.

    Raises UserError when classes cannot be told apart in prompts, or are not as many as the row names.
    """
    folders, names = tuple(layout.titles), row.class_names or tuple(layout.titles.values())
    if len(names) != len(folders):
        raise UserError(
            f"{len(names)} class names are given, and {files.title} has {len(folders)} classes",
            hint=f"one line a class, in this order: {', '.join(folders[:5])} ...",
        )
    if len(set(map(clean_name, names))) < len(names):
        raise UserError(f"two classes of {files.title} have the same name in prompts", hint="rename one of the folders")
    size = common_size(files.image(image.path) for image in layout.images)
    return sized(row, size, class_names=names, folders=folders)


def sized(row: DatasetRow, size: int | None, **classes: tuple[str, ...]) -> DatasetRow:
    """`row` for images that all have `size`, or none in common."""
    pixel_size, resize = CROPPED if size is None else (size, None)
    return replace(row, pixel_size=pixel_size, resize=resize, **classes)  # type: ignore[arg-type]


def read_images(files: Files, layout: Layout, row: DatasetRow) -> Iterator[Sample]:
    """Every image in the order of splits, classes and paths. Raises UserError for a folder that is no class of the
    row."""
    known = Labels(row)
    labels = {folder: known.of(folder, name, title=files.title) for folder, name in layout.titles.items()}
    return _samples(files, layout, labels)


def _samples(files: Files, layout: Layout, labels: Mapping[str, int | None]) -> Iterator[Sample]:
    for image in sorted(layout.images, key=lambda i: (ORDER.index(i.split), labels[i.folder] or 0, i.path)):
        label = labels[image.folder]
        if label is not None:
            yield Sample(image.split, files.image(image.path), label)


def _in_split(path: str) -> ImageFile | None:
    if not is_image(path):
        return None
    folders = path.split("/")[:-1]
    place = next((i for i, folder in enumerate(folders) if folder.lower() in SPLITS), None)
    if place is None or place + 1 >= len(folders):
        return None
    return ImageFile(SPLITS[folders[place].lower()], sys.intern(folders[place + 1]), path)


def _in_class(path: str, labels: Labels | None) -> ImageFile | None:
    """An image directly in a folder; for a known dataset, images in folders within a class's are litter."""
    folders = path.split("/")[:-1]
    if not folders or not is_image(path) or (labels is None and folders[-1].lower() in SPLITS):
        return None
    if labels is not None and labels.find(folders[-1]) is None and any(labels.find(f) is not None for f in folders):
        return None
    return ImageFile("test", sys.intern(folders[-1]), path)


def _names_of_folders(files: Files) -> dict[str, str]:
    """The content of the outermost classes.json, if there is one."""
    found = [path for path in files.sizes if path.rpartition("/")[2] in ("classes.json", "class.json")]
    if not found:
        return {}
    path = min(found, key=lambda p: p.count("/"))
    try:
        names = json.loads(files.read(path, at_most=MAX_NAMES))
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise UserError(f'{path} in {files.title} is not {{"folder": "class name", ...}}', hint="mend or remove it")
    return names
