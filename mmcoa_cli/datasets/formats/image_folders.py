"""Images in folders of classes: `split/class/image`, or `class/image` where there are no splits.

The layout may lie below any number of folders. `val` is the test set where there is no `test`; without splits all
images are the test set. A `classes.json` may give the class folders other names: {"n01443537": "goldfish"}.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from store.errors import UserError

from ...catalog import DatasetRow
from ..decoding import common_size
from ..files import NO_IMAGE, OTHER_KIND, Files, LeftOut, images_among, joined
from ..library import ORDER
from ..prompts import clean_name
from ..samples import SPLITS, Labels, Recognised, Sample, natural
from .class_folders import BESIDE, LAYOUT, OUTSIDE, find_classes
from .label_files import MAX_NAMES, NAMES, NOT_READ, label_files, require_none_ignored

CROPPED = (224, 256)  # pixel size and resize of images of varying size
_MASK = re.compile(r"(.*)[ _.-](?:mask|masks|seg|segmentation|gt|groundtruth|depth|annotation)(?:[ _-]?\d+)?\.\w+$")
NO_CLASS = "in no folder of a class"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image: where it is and which class folder it lies in."""

    split: str
    folder: str
    path: str


@dataclass(frozen=True)
class Layout:
    """The images of a folder or archive, and the class names of its folders; `left_out` is what is no part of it, and
    `label_files` are those that may say other labels."""

    images: tuple[ImageFile, ...]
    titles: Mapping[str, str]  # class folder -> class name, in the order of the folders
    left_out: LeftOut
    label_files: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """The images of each split."""
        counts = Counter(image.split for image in self.images)
        return {split: counts[split] for split in ORDER if counts[split]}


def find(files: Files, row: DatasetRow, *, scratch: Path, stack: ExitStack) -> Recognised | None:
    """The samples of folders of classes: what is in no other format.

    Raises UserError, naming the archives where the dataset has several, if there are no folders of its classes.
    """
    if row.captions:
        raise UserError(
            f"{files.title} holds no images with captions",
            hint="it takes webdataset shards, or val2014/ beside dataset_coco.json",
        )
    try:
        layout = scan(files, labels=Labels(row) if row.splits else None)
        full = row if row.splits else describe(files, layout, row=row)
        return Recognised(full, read_images(files, layout, full), files.total, len(layout.images), layout.left_out)
    except UserError as error:
        archives = [PurePosixPath(archive.url).name for source in row.sources for archive in source.archives]
        if len(archives) < 2:
            raise
        hint = f"put {', '.join(archives)} into one folder, and give --from that"
        raise UserError(str(error), hint=f"{error.hint}; or {hint}") from error


def scan(files: Files, *, labels: Labels | None = None) -> Layout:
    """Find the images; `labels` are those of a row of the catalog, whose folders are known; of one's own dataset the
    folders say what the classes are.

    Raises UserError when there is no layout of classes, or more than one.
    """
    paths, others = images_among(files)
    if labels is None:
        images, left_out = _own(files, paths, others)
    else:
        images, left_out = _known(files, paths, labels)
    if not any(image.split == "test" for image in images):
        images = [ImageFile("test" if i.split == "val" else i.split, i.folder, i.path) for i in images]
    folders = sorted({image.folder for image in images}, key=natural)
    titles = _titles(files, folders, all_named=labels is None)
    listed = _outside(label_files(others[NO_IMAGE]), images)
    read = {*listed, *(path for path in files.sizes if path.rpartition("/")[2] in NAMES)}
    others = {**others, NO_IMAGE: tuple(path for path in others[NO_IMAGE] if path not in read), NOT_READ: tuple(listed)}
    return Layout(tuple(images), titles, joined(left_out, others, files.left_out), tuple(listed))


def describe(files: Files, layout: Layout, *, row: DatasetRow) -> DatasetRow:
    """`row`, of a dataset that the catalog does not have, completed: its classes, unless it names them, in the order of
    their folders; images at their own size where they all share one, else resized and cropped.

    Raises UserError for a single class, for classes that cannot be told apart in prompts or are not as many as the row
    names, and for a file that may say other classes than the folders.
    """
    folders = tuple(layout.titles)
    if len(folders) == 1:
        raise UserError(
            f"{files.title} has a single class, {folders[0]} ({layout.images[0].path}): all would be right",
            hint=LAYOUT,
        )
    _require_common_classes(layout, title=files.title)
    _require_no_masks(layout, title=files.title)
    if not row.class_names:
        require_none_ignored(files, layout.label_files, folders)
    names = row.class_names or tuple(layout.titles.values())
    require_classes(names, folders, title=files.title)
    size = common_size(files.image(image.path) for image in layout.images)
    return sized(row, size, class_names=names, folders=folders)


def _require_common_classes(layout: Layout, *, title: str) -> None:
    """Raises UserError where no class of the test set is one of the training set, as in test/unknown/."""
    folders: dict[str, dict[str, str]] = {}
    for image in layout.images:
        folders.setdefault(image.split, {}).setdefault(image.folder, image.path)
    train, test = folders.get("train", {}), folders.get("test", {})
    if train and test and not train.keys() & test.keys():
        one, other = next(iter(test.values())), next(iter(train.values()))
        raise UserError(
            f"{title} has no class in both train and test: {one}, and {other}",
            hint="name the folders of a class alike, or fetch one of the splits by itself",
        )


def _require_no_masks(layout: Layout, *, title: str) -> None:
    """Raises UserError where an image is the mask of another one, as 1_mask.png is beside 1.png."""
    masks = [(image.path, mask[1]) for image in layout.images if (mask := _MASK.match(image.path))]
    stems = {image.path.rpartition(".")[0] for image in layout.images} if masks else set()
    for path, stem in masks:
        if stem in stems:
            raise UserError(
                f"{title}: {path} looks like a mask of the image {stem}, and would count as one of its class",
                hint="move the masks out of the folders of the classes",
            )


def require_classes(names: Sequence[str], theirs: Sequence[str], *, title: str) -> None:
    """Raises UserError for class names that are not as many as `theirs` (what the dataset calls its classes), that
    are those in another order, or that cannot be told apart in prompts."""
    few = ", ".join(theirs[:5]) + (" ..." if len(theirs) > 5 else "")
    if len(names) != len(theirs):
        raise UserError(
            f"{len(names)} class names are given, and {title} has {len(theirs)} classes",
            hint=f"one line a class, in this order: {few}",
        )
    known = set(map(clean_name, theirs))
    for place, name in enumerate(names):
        if clean_name(name) != clean_name(theirs[place]) and clean_name(name) in known:
            raise UserError(
                f"{title}: the class {theirs[place]!r} would be called {name!r}, which is another of its classes",
                hint=f"give the names in this order: {few}",
            )
    seen: dict[str, str] = {}
    for name in names:
        clean = clean_name(name)
        if clean in seen:
            raise UserError(
                f"two classes of {title} have the same name in prompts, {clean!r}: {seen[clean]!r} and {name!r}",
                hint=f"rename one of them, or name the classes, one a line in this order ({few}): --class-names FILE",
            )
        seen[clean] = name


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


def _own(files: Files, paths: Sequence[str], others: LeftOut) -> tuple[list[ImageFile], LeftOut]:
    try:
        places = find_classes(paths, title=files.title)
    except UserError as error:
        unread = [*label_files(others[NO_IMAGE]), *others[OTHER_KIND]]
        more = f"; {unread[0]} is not read" if unread else ""
        raise UserError(f"{error}{more}", hint=error.hint) from error
    images, outside = [], []
    for path in paths:
        if (place := places.of(path)) is None:
            outside.append(path)
        else:
            images.append(ImageFile(place[0], sys.intern(place[1]), path))
    beside = tuple(path for path in outside if path.count("/") <= len(places.above))
    return images, {BESIDE: beside, OUTSIDE: tuple(path for path in outside if path.count("/") > len(places.above))}


def _known(files: Files, paths: Sequence[str], labels: Labels) -> tuple[list[ImageFile], LeftOut]:
    """The images of a dataset of the catalog; those of folders that its row says are no classes are left out."""
    placed = [place for path in paths if (place := _in_split(path)) is not None]
    placed = placed or [place for path in paths if (place := _in_class(path, labels)) is not None]
    placed = [place for place in placed if not labels.is_left_out(place[1].folder)]
    if not placed:
        raise UserError(f"{files.title} holds no images in folders of classes", hint=LAYOUT)
    _require_one_place(placed, title=files.title)
    taken = {image.path for _, image in placed}
    return [image for _, image in placed], {NO_CLASS: tuple(path for path in paths if path not in taken)}


def _require_one_place(placed: Sequence[tuple[str, ImageFile]], *, title: str) -> None:
    """Raises UserError where two folders of one split, or of one class, are two copies of the dataset."""
    seen: dict[tuple[str, str], str] = {}
    for place, image in placed:
        other = seen.setdefault((image.split, image.folder), place)
        if other != place:
            raise UserError(
                f"{title} has {image.split} images of {image.folder} in {other or '.'}/ and in {place or '.'}/",
                hint="give --from the folder of one of them",
            )


def _outside(listed: Sequence[str], images: Sequence[ImageFile]) -> list[str]:
    """Those of `listed` that do not lie in a folder of images."""
    folders = {image.path.rpartition("/")[0] for image in images} if listed else set()
    return [path for path in listed if path.rpartition("/")[0] not in folders]


def _in_split(path: str) -> tuple[str, ImageFile] | None:
    """The folder that the class's lies in, and the image."""
    folders = path.split("/")[:-1]
    place = next((i for i, folder in enumerate(folders) if folder.lower() in SPLITS), None)
    if place is None or place + 1 >= len(folders):
        return None
    image = ImageFile(SPLITS[folders[place].lower()], sys.intern(folders[place + 1]), path)
    return sys.intern("/".join(folders[: place + 1])), image


def _in_class(path: str, labels: Labels) -> tuple[str, ImageFile] | None:
    """An image directly in a folder; images in folders within a class's are litter."""
    *above, folder = path.split("/")[:-1] or [""]
    if not folder or (labels.find(folder) is None and any(labels.find(f) is not None for f in above)):
        return None
    return sys.intern("/".join(above)), ImageFile("test", sys.intern(folder), path)


def _titles(files: Files, folders: Sequence[str], *, all_named: bool) -> dict[str, str]:
    """The class names of `folders`. Raises UserError for a classes.json that lacks one, if it is to have all."""
    names = _names_of_folders(files)
    lacking = [folder for folder in folders if folder not in names]
    if names and lacking and all_named:
        raise UserError(
            f"the classes.json of {files.title} has no name for the folder {lacking[0]}",
            hint="add it, or remove the file",
        )
    return {folder: names.get(folder, folder) for folder in folders}


def _names_of_folders(files: Files) -> dict[str, str]:
    """The content of the outermost classes.json, if there is one."""
    found = [path for path in files.sizes if path.rpartition("/")[2] in NAMES]
    if not found:
        return {}
    path = min(found, key=lambda p: p.count("/"))
    try:
        names = json.loads(files.read(path, at_most=MAX_NAMES))
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise UserError(f'{path} in {files.title} is not {{"folder": "class name", ...}}', hint="mend or remove it")
    return {unicodedata.normalize("NFC", folder): name for folder, name in names.items()}
