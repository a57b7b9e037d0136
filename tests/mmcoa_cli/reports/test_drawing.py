"""Pictures are really drawn, in every format that a file's name asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from mmcoa_cli import catalog
from mmcoa_cli.reports.content import Report, report_of
from mmcoa_cli.reports.drawing import COLOURS, draw
from mmcoa_cli.reports.reading import rows
from store.errors import UserError
from store.index import Index

Add = Callable[..., Any]


def pixels(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def figure(index: Index, task: catalog.TableRow, *attacks: str) -> Report:
    return report_of(rows(index, task, attacks=attacks), task)


def count(picture: np.ndarray[Any, Any], colour: str) -> int:
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return int((picture == wanted).all(axis=2).sum())


@pytest.fixture
def results(add: Add) -> None:
    for dataset in ("cifar10", "cifar100", "$x_1$ <b>"):
        add("clip", {"image": 500, "text": 900, "multimodal": 300, "clean": 6000}, dataset=dataset)
        for shots in ("1", "full"):
            add("mmcoa", {"image": 3000, "text": 5000, "multimodal": 2000}, source="imagenet", shots=shots,
                dataset=dataset)  # fmt: skip


@pytest.mark.parametrize("name", ["fig3", "fig4"])
def test_a_png_is_drawn(index: Index, results: None, tmp_path: Path, name: str) -> None:
    task = catalog.tables()[name]
    draw(figure(index, task), tmp_path / "new" / "figure.png")
    picture = pixels(tmp_path / "new" / "figure.png")
    height, width, _ = picture.shape
    assert width == 1050 and 500 < height < 2000  # 3.5 inches at 300 dots
    clip, tecoa, mmcoa = (count(picture, colour) for colour in (COLOURS[0], COLOURS[2], COLOURS[3]))
    assert clip > 100 and mmcoa > 100 and tecoa == 0
    assert (picture[:, [0, -1]] == 255).all() and (picture[[0, -1]] == 255).all()  # nothing is cut off at an edge
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["figure.png"]


def test_more_attacks_are_more_panels(index: Index, results: None, tmp_path: Path) -> None:
    heights = []
    for attacks in (("image",), ("image", "text", "multimodal", "clean")):
        for name in ("fig3", "fig4"):
            task = catalog.tables()[name]
            draw(figure(index, task, *attacks), tmp_path / f"{name}.png")
            heights.append(pixels(tmp_path / f"{name}.png").shape[0])
    assert heights[2] > heights[0] and heights[3] > heights[1]


def test_pdf_and_svg_are_the_same_bytes_every_time(index: Index, results: None, tmp_path: Path) -> None:
    task = catalog.tables()["fig4"]
    for ending, begins in ((".pdf", b"%PDF-"), (".svg", b"<?xml")):
        paths = [tmp_path / f"{number}{ending}" for number in (1, 2)]
        for path in paths:
            draw(figure(index, task), path)
        assert paths[0].read_bytes().startswith(begins) and paths[0].read_bytes() == paths[1].read_bytes()
    text = "".join(ElementTree.parse(tmp_path / "1.svg").getroot().itertext())
    assert "$x_1$ <b>" in text and "clip" in text  # names are text, never mathematics or markup


def test_another_ending_is_refused(index: Index, results: None, tmp_path: Path) -> None:
    task = catalog.tables()["fig3"]
    with pytest.raises(UserError, match=r"x\.bmp is no picture that can be drawn"):
        draw(figure(index, task), tmp_path / "x.bmp")
    assert not (tmp_path / "x.bmp").exists()
