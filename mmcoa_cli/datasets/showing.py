"""What `mmcoa show DATASET` does: the summary, the contact sheet, and a few images in the terminal."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

from store.datasets import Dataset

from ..names import store_name
from ..settings import Home
from ..terminal.console import indented, out, show
from .contact_sheet import Shown, chosen, draw, tiles_of
from .library import attacked_at, open_dataset
from .pixels import load_pixels
from .summary import summary_of

PREVIEW_LINES = 2  # of pictures in the terminal


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
