"""A contact sheet: pictures in rows, with words below each; of a dataset, images of each class as attacked, and what
`mmcoa show DATASET` says beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from store.datasets import Dataset
from store.errors import UserError
from store.files import replacing

from ..names import store_name
from ..settings import Home
from ..terminal.console import indented, out, show
from ..terminal.half_blocks import shortened
from .library import attacked_at, open_dataset
from .pixels import Pixels, load_pixels
from .summary import summary_of

TILE, LABEL, GAP, MARGIN, TITLE = 128, 30, 8, 16, 28  # pixels: an image's side, the lines below it, what lies between
MAX_CLASSES, MAX_IMAGES, MOST = 1000, 200, 8  # classes on a sheet, images where that leaves several of a class
WIDEST = 30  # images beside each other
INK, GREY, PAPER = "#1a1a1a", "#6b6b6b", "white"
ENDING = ".png"
PREVIEW_LINES = 2  # of pictures in the terminal


@dataclass(frozen=True)
class Shown:
    """An image of the sheet: where it is in the dataset, and its class name or first caption."""

    split: str
    index: int
    label: str


def chosen(dataset: Dataset, split: str) -> list[list[Shown]]:
    """Some images of each class, a list a class: from the first to the last at equal distances, so that classes that
    are mixed up are seen. Of very many classes some, at equal distances too."""
    names, labels = dataset.info.class_names, dataset.labels(split)
    if not names:
        captions = dataset.captions(split)
        return [[Shown(split, i, captions[i][0])] for i in _spread(len(labels), MAX_IMAGES)]
    there = np.unique(labels)
    classes = [int(there[k]) for k in _spread(len(there), MAX_CLASSES)]
    each = max(1, min(MOST, MAX_IMAGES // len(classes)))
    members = {k: np.flatnonzero(labels == k) for k in classes}
    return [[Shown(split, int(members[k][i]), names[k]) for i in _spread(len(members[k]), each)] for k in classes]


@dataclass(frozen=True)
class Tile:
    """A picture of a sheet, which is loaded when it is drawn, and what stands below it: a text, or two lines."""

    label: str
    load: Callable[[], Pixels]


def tiles_of(dataset: Dataset, rows: Sequence[Sequence[Shown]]) -> list[list[Tile]]:
    """The images of a dataset as tiles."""

    def tile(one: Shown) -> Tile:
        return Tile(one.label, lambda: load_pixels(dataset, one.split, [one.index])[0])

    return [[tile(one) for one in row] for row in rows]


def draw(rows: Sequence[Sequence[Tile]], path: Path, *, title: str) -> None:
    """Draw the sheet into the PNG `path`; rows that are short and many lie beside each other.

    Raises UserError for a file that does not end in .png, or whose folder is not there.
    """
    if path.suffix.lower() != ENDING:
        raise UserError(f"{path} is no picture that can be drawn", hint=f"end it in {ENDING}")
    if not path.parent.is_dir():
        raise UserError(f"there is no folder {path.parent}", hint="--output FILE.png, in a folder that is there")
    places = list(_places(rows))
    width = max(MARGIN + (x + 1) * (TILE + GAP) for x, _, _ in places) + MARGIN - GAP
    height = max(MARGIN + TITLE + (y + 1) * (TILE + LABEL + GAP) for _, y, _ in places) + MARGIN - GAP
    sheet = Image.new("RGB", (max(width, 480), height), PAPER)
    pen, bold = ImageDraw.Draw(sheet), _font(15)
    pen.text((MARGIN, MARGIN - 4), _cut(title, bold, sheet.width - 2 * MARGIN), fill=INK, font=bold)
    font = _font(11)
    for x, y, one in places:
        left, top = MARGIN + x * (TILE + GAP), MARGIN + TITLE + y * (TILE + LABEL + GAP)
        picture = scaled(one.load())
        sheet.paste(picture, (left + (TILE - picture.width) // 2, top + TILE - picture.height))
        for line, text in enumerate(_two_lines(one.label, font)):
            pen.text((left + TILE // 2, top + TILE + 2 + 13 * line), text, fill=GREY, font=font, anchor="ma")
    with replacing(path) as partial:
        sheet.save(partial, "PNG")


def _places(rows: Sequence[Sequence[Tile]]) -> Iterator[tuple[int, int, Tile]]:
    """Column, row and image; several rows share a line of the sheet where they are short and many."""
    length = max(map(len, rows))
    beside = max(1, min(WIDEST, round((1.4 * sum(map(len, rows))) ** 0.5)) // length)
    for number, row in enumerate(rows):
        for column, one in enumerate(row):
            yield (number % beside) * length + column, number // beside, one


def scaled(pixels: Pixels) -> Image.Image:
    """The image at the size of a tile: small pixels stay squares, large images are scaled down."""
    image = Image.fromarray(pixels)
    if image.width <= TILE:
        side = image.width * (TILE // image.width)
        return image.resize((side, side), Image.Resampling.NEAREST)
    return image.resize((TILE, TILE), Image.Resampling.LANCZOS)


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` places, at equal distances."""
    return [round(i) for i in np.linspace(0, count - 1, min(count, most))]


def _font(size: int) -> Any:
    from matplotlib import get_data_path

    return ImageFont.truetype(str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def _two_lines(text: str, font: Any) -> list[str]:
    """The text in at most two lines of a tile's width, cut with an ellipsis."""
    if "\n" in text:
        return [_cut(line.replace("_", " "), font, TILE) for line in text.split("\n")]
    words = text.replace("_", " ").split(" ")
    for count in range(len(words), 0, -1):
        first = " ".join(words[:count])
        if font.getlength(first) <= TILE:
            return [first, *([_cut(" ".join(words[count:]), font, TILE)] if count < len(words) else [])]
    return [_cut(text, font, TILE)]


def _cut(text: str, font: Any, width: float) -> str:
    return shortened(text, lambda cut: bool(font.getlength(cut) <= width))


def show_dataset(
    name: str, home: Home, *, split: str, pixel_size: int | None, output: Path | None, quiet: bool
) -> dict[str, Any]:
    """Draw the contact sheet, and print the summary unless `quiet`; returns all of it as one document.

    Raises UserError for a dataset that is not in the store, and for a split that it does not have.
    """
    with attacked_at(open_dataset(name, home), pixel_size) as dataset:
        summary, rows = summary_of(dataset), chosen(dataset, split)
        path = output or home.datasets / f"{store_name(name)}.{split}.png"
        size, shown = dataset.info.pixel_size, list(chain.from_iterable(rows))
        draw(tiles_of(dataset, rows), path, title=f"{dataset.info.name}: {split}, attacked at {size} x {size} pixels")
        if not quiet:
            show(f"{dataset.info.name}: {path}")
            out.print(indented([*summary.lines(), ("sheet", _words(rows, dataset, split))]))
            if out.is_terminal and out.color_system and not out.no_color:
                _preview(dataset, rows)
    images = [{"split": one.split, "index": one.index, "label": one.label} for one in shown]
    return {"name": dataset.info.name, "path": path, "about": summary.document(), "images": images}


def _words(rows: list[list[Shown]], dataset: Dataset, split: str) -> str:
    images, classes = sum(map(len, rows)), len(dataset.info.class_names)
    if not classes:
        return f"{images:,} of {dataset.info.splits[split]:,} {split} images"
    return f"{images:,} of {dataset.info.splits[split]:,} {split} images, of {len(rows):,} of {classes:,} classes"


def _preview(dataset: Dataset, rows: list[list[Shown]]) -> None:
    """The first image of the first few classes."""
    from ..terminal.half_blocks import SIDE, gallery

    beside = max(1, (out.width + 2) // (SIDE + 2))
    first = [row[0] for row in rows][: PREVIEW_LINES * beside]
    pictures = load_pixels(dataset, first[0].split, [one.index for one in first])
    out.print(gallery(list(pictures), [one.label for one in first], width=out.width))
