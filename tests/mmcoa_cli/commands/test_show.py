"""`mmcoa show`: the sheet has the images that are attacked, above their class names."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from mmcoa_cli.app import app
from mmcoa_cli.datasets.contact_sheet import GAP, LABEL, MARGIN, TILE, TITLE
from mmcoa_cli.inventory import fetch
from mmcoa_cli.settings import Home
from mmcoa_cli.terminal.half_blocks import HALF, SIDE, gallery, shortened
from store.errors import UserError

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("MMCOA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MMCOA_DATABASE_URL", raising=False)
    return Home(tmp_path / "home", f"sqlite:///{tmp_path / 'home' / 'index.db'}")


def put(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (16, 16), exif: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tags = Image.Exif()
    tags[274] = exif
    image = Image.new("RGB", size, colour)
    image.paste((0, 255, 0), (0, 0, size[0], size[1] // 2))  # the upper half is green
    image.save(path, exif=tags)


@pytest.fixture
def pets(home: Home, tmp_path: Path) -> Path:
    """Red cats and blue dogs."""
    for number in range(3):
        put(tmp_path / f"pets/test/cat/{number}.png", RED)
        put(tmp_path / f"pets/test/dog/{number}.png", BLUE)
    fetch("pets", home, source=tmp_path / "pets")
    return tmp_path / "pets"


def shown(*words: str) -> Any:
    result = CliRunner().invoke(app, ["show", *words, "--json"])
    if result.exception:
        raise result.exception
    return json.loads(result.stdout)["shown"]


def tile(sheet: Any, column: int, row: int) -> Any:
    """The pixels of one image of the sheet."""
    left, top = MARGIN + column * (TILE + GAP), MARGIN + TITLE + row * (TILE + LABEL + GAP)
    return sheet[top : top + TILE, left : left + TILE]


@pytest.mark.usefixtures("pets")
def test_a_row_of_each_class(home: Home) -> None:
    (one,) = shown("pets")
    sheet = np.asarray(Image.open(one["path"]).convert("RGB"))
    for row, colour in enumerate((RED, BLUE)):
        for column in range(3):
            picture = tile(sheet, column, row)
            assert picture[: TILE // 2].reshape(-1, 3).tolist() == [[0, 255, 0]] * (TILE * TILE // 2)
            assert picture[TILE // 2 :].reshape(-1, 3).tolist() == [list(colour)] * (TILE * TILE // 2)
            below = sheet[MARGIN + TITLE + row * (TILE + LABEL + GAP) + TILE :][:LABEL]
            assert below.min() < 200  # something is written there
    assert [image["label"] for image in one["images"]] == ["cat"] * 3 + ["dog"] * 3
    assert one["path"] == str(home.datasets / "pets.test.png")
    assert one["about"]["splits"] == {"test": 6}


def test_exactly_what_is_attacked(home: Home, tmp_path: Path) -> None:
    """Turned, its shorter side resized to 256, the centre of 224: of a wide image only what lies there."""
    for name in ("cat", "dog"):
        put(tmp_path / f"x/test/{name}/1.png", RED, size=(300, 900), exif=6)
    fetch("x", home, source=tmp_path / "x")
    (one,) = shown("x")
    picture = tile(np.asarray(Image.open(one["path"]).convert("RGB")), 0, 0)
    assert picture[64, 5].tolist() == [255, 0, 0] and picture[64, -5].tolist() == [0, 255, 0]


@pytest.mark.usefixtures("pets")
def test_another_size_and_place(tmp_path: Path) -> None:
    (one,) = shown("pets", "--pixel-size", "64", "--output", str(tmp_path / "sheet.png"))
    assert one["path"] == str(tmp_path / "sheet.png") and one["about"]["attacked_at"] == 64
    assert Image.open(one["path"]).size > (200, 200)


def test_many_classes_are_one_sheet(home: Home, tmp_path: Path) -> None:
    for number in range(300):
        put(tmp_path / f"many/test/n{number:03}/1.png", RED, size=(8, 8))
    fetch("many", home, source=tmp_path / "many")
    (one,) = shown("many")
    width, height = Image.open(one["path"]).size
    assert len(one["images"]) == 300 and 0.5 < width / height < 2


@pytest.mark.usefixtures("pets")
def test_in_words() -> None:
    result = CliRunner().invoke(app, ["show", "pets"])
    assert "pets.test.png" in result.stdout and "2: cat, dog" in result.stdout
    assert "6 of 6 test images, of 2 of 2 classes" in result.stdout
    assert HALF not in result.stdout  # no terminal


@pytest.mark.parametrize("width", [30, 80, 200])
def test_pictures_in_a_terminal(width: int) -> None:
    pictures = [np.full((16, 16, 3), colour, np.uint8) for colour in (RED, BLUE, RED)]
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, color_system="truecolor", width=width)
    console.print(gallery(pictures, ["cat", "dog", "cat"], width=width))
    text = written.getvalue()
    assert text.count(HALF) == 3 * SIDE * SIDE // 2
    assert "38;2;255;0;0;48;2;255;0;0m" in text and "38;2;0;0;255;48;2;0;0;255m" in text
    assert text.count("cat") == 2 and text.count("dog") == 1


@pytest.mark.parametrize(("width", "beside"), [(20, 1), (44, 2), (80, 3), (100, 3), (140, 6)])
def test_pictures_that_belong_together_stand_in_one_line(width: int, beside: int) -> None:
    written = io.StringIO()
    pictures, titles = [np.zeros((8, 8, 3), np.uint8)] * 6, [f"one\n{name}" for name in "abcdef"]
    Console(file=written, width=width).print(gallery(pictures, titles, width=width, together=3))
    lines = [line.split() for line in written.getvalue().splitlines() if HALF not in line]
    assert lines[:2] == [["one"] * beside, ["a", "b", "c", "d", "e", "f"][:beside]]


def test_a_percentage_stays_where_a_name_is_cut() -> None:
    assert shortened("seen as a great white shark 91%", lambda text: len(text) <= 20) == "seen as a great… 91%"
    assert shortened("seen as a great white shark", lambda text: len(text) <= 20) == "seen as a great whi…"
    assert shortened("cat 91%", lambda text: len(text) <= 20) == "cat 91%"


@pytest.mark.usefixtures("pets")
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["pest"], "no run, dataset or example set called 'pest'"),
        (["pets", "--split", "train"], "no split called 'train'"),
        (["pets", "--output", "sheet.pdf"], "no picture that can be drawn"),
        (["pets", "--output", "/nowhere/sheet.png"], "there is no folder /nowhere"),
    ],
)
def test_what_cannot_be_shown(words: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line) as caught:
        shown(*words)
    assert caught.value.hint
