"""Images in `split/class/image` layout: the form in which one brings a dataset of one's own, and most are passed on.

The layout may lie below any number of folders. `val` is the test set where there is no `test`. A `classes.json` may
give the class folders other names: {"n01443537": "goldfish"}.
"""

from __future__ import annotations

import io
import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from store.errors import UserError

from ..catalog import DatasetRow
from ..prompts import clean_name
from .archives import Files

Sample = tuple[str, npt.NDArray[np.uint8] | bytes, int]  # split; pixels (S, S, 3) or an encoded image; label

SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": "val", "valid": "val", "validation": "val",
}  # fmt: skip
_ORDER = ("train", "val", "test")
ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")  # nothing that starts another program, as EPS does
MAX_IMAGE, MAX_NAMES = 64 << 20, 16 << 20  # bytes of one image file, and of classes.json
CROPPED = (224, 256)  # pixel size and resize of images of varying size
_MEND = "remove it, or replace it by a whole one"
_LAYOUT = "it takes train/<class>/<image> and test/<class>/<image>"


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
        return {split: counts[split] for split in _ORDER if counts[split]}


def scan(files: Files) -> Layout:
    """Find the images. Raises UserError when there is no split/class/image layout."""
    images = [image for path in files.sizes if (image := _image_file(path)) is not None]
    if not images:
        raise UserError(f"{files.title} holds no images in folders of classes", hint=_LAYOUT)
    if not any(image.split == "test" for image in images):
        images = [ImageFile("test" if i.split == "val" else i.split, i.folder, i.path) for i in images]
    names = _names_of_folders(files)
    folders = sorted({image.folder for image in images})
    return Layout(tuple(images), {folder: names.get(folder, folder) for folder in folders})


def describe(files: Files, layout: Layout, *, name: str) -> DatasetRow:
    """The row of a dataset that the catalog does not have: classes in the order of their folders, images at their own
    size where they all share one, else resized and cropped."""
    class_names = tuple(layout.titles.values())
    if len(set(map(clean_name, class_names))) < len(class_names):
        raise UserError(f"two classes of {files.title} have the same name in prompts", hint="rename one of the folders")
    size = _common_size(files, layout)
    pixel_size, resize = CROPPED if size is None else (size, None)
    return DatasetRow(name, class_names=class_names, pixel_size=pixel_size, resize=resize)


def read_images(files: Files, layout: Layout, row: DatasetRow) -> Iterator[Sample]:
    """Every image in the order of splits, classes and paths: as pixels where the row's images have one size, else as
    it is encoded. Raises UserError for a folder that is no class of the row and for an image that cannot be used."""
    labels = _labels(layout, row, title=files.title)
    for image in sorted(layout.images, key=lambda i: (_ORDER.index(i.split), labels[i.folder], i.path)):
        data = files.read(image.path, at_most=MAX_IMAGE)
        size = row.pixel_size if row.resize is None else None
        yield image.split, _pixels(data, image.path, size) if size else _checked(data, image.path), labels[image.folder]


def _image_file(path: str) -> ImageFile | None:
    *folders, file = path.split("/")
    if PurePosixPath(file).suffix.lower() not in ENDINGS:
        return None
    place = next((i for i, folder in enumerate(folders) if folder.lower() in SPLITS), None)
    if place is None or place + 1 >= len(folders):
        return None
    return ImageFile(SPLITS[folders[place].lower()], folders[place + 1], path)


def _names_of_folders(files: Files) -> dict[str, str]:
    """The content of the outermost classes.json, if there is one."""
    found = [path for path in files.sizes if PurePosixPath(path).name in ("classes.json", "class.json")]
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


def _labels(layout: Layout, row: DatasetRow, *, title: str) -> dict[str, int]:
    numbers = {clean_name(name): label for label, name in enumerate(row.class_names)}
    labels = {}
    for folder, name in layout.titles.items():
        if clean_name(name) not in numbers:
            known = ", ".join(row.class_names[:5])
            raise UserError(f"{title}: {name!r} is no class of {row.name}", hint=f"its classes are {known} ...")
        labels[folder] = numbers[clean_name(name)]
    return labels


def _common_size(files: Files, layout: Layout) -> int | None:
    """The side of the images when they all are squares of one size; stops at the first that differs."""
    first = None
    for image in layout.images:
        with _opened(files.read(image.path, at_most=MAX_IMAGE), image.path) as opened:
            width, height = opened.size
        first = first or width
        if (width, height) != (first, first):
            return None
    return first


def _pixels(data: bytes, path: str, size: int) -> npt.NDArray[np.uint8]:
    with _opened(data, path) as image:
        if image.size != (size, size):
            width, height = image.size
            raise UserError(
                f"{path} is {width}x{height} pixels, this dataset's images are {size}x{size}",
                hint="fetch it under a name of its own to keep other sizes",
            )
        return np.asarray(_loaded(image, path).convert("RGB"))


def _checked(data: bytes, path: str) -> bytes:
    """`data`, once it is sure to decode (at an eighth of its size where the format can)."""
    with _opened(data, path) as image:
        image.draft("RGB", (1, 1))
        _loaded(image, path)
    return data


def _opened(data: bytes, path: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data), formats=FORMATS)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} is no image that can be read", hint=_MEND) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{path} is far too large for an image", hint="remove it") from error


def _loaded(image: Image.Image, path: str) -> Image.Image:
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as error:
        raise UserError(f"{path} is damaged: {error}", hint=_MEND) from error
    return image
