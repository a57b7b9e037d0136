"""What fetch says it understood: of a dataset of one's own all that could be wrong, of the catalog's little."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from mmcoa_cli.app import app
from mmcoa_cli.datasets.summary import Summary
from mmcoa_cli.inventory import fetch
from mmcoa_cli.settings import Home

Make = Callable[..., Any]


@pytest.fixture
def birds(image: Make, laid: Make) -> Path:
    """Two classes, an image that is turned, one of 16 bits and one that is broken, and a file that is no image."""
    exif = Image.Exif()
    exif[274] = 6
    turned, wide = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (30, 40)).save(turned, "JPEG", exif=exif)
    Image.new("I;16", (30, 40)).save(wide, "PNG")
    folder: Path = laid(
        "birds",
        {
            "train/a_robin/1.jpg": turned.getvalue(), "train/a_robin/2.png": wide.getvalue(),
            "train/b_wren/1.png": image(1), "train/b_wren/2.png": b"broken", "test/a_robin/1.png": image(2),
            "test/b_wren/1.png": image(3), "readme.md": b"hello",
        },
    )  # fmt: skip
    return folder


def about(fetched: Any) -> Summary:
    assert fetched.about is not None
    summary: Summary = fetched.about
    return summary


def test_all_of_ones_own(home: Home, birds: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Robin\nWren\n")
    first = about(fetch("birds", home, source=birds, class_names=tmp_path / "names.txt", skip_broken=True))
    assert dict(first.lines()) == {
        "classes": "2: a_robin -> Robin, b_wren -> Wren",
        "images": "3 train (1 to 2 a class), 2 test (1 a class)",
        "attacked at": "224 x 224 pixels (the shorter side at 256, then the centre)",
        "prompt": '"This is a photo of a robin"',
        "applied": "1 image turned as their EXIF orientation says; 1 image scaled from 16 to 8 bits",
        "left out": "no image: 1 (readme.md); images that cannot be used: 1 (train/b_wren/2.png)",
    }
    again = about(fetch("birds", home))  # from what the file says
    assert (again.document(), list(again.lines())) == (first.document(), list(first.lines()))
    assert first.document()["classes"] == [{"folder": "a_robin", "name": "Robin"}, {"folder": "b_wren", "name": "Wren"}]
    assert {one["reason"]: one["files"] for one in first.document()["left_out"]}["no image"] == ["readme.md"]


def test_a_thousand_classes_and_files_are_few_lines(home: Home, image: Make, laid: Make) -> None:
    long = "x" * 200
    files = {f"test/n{k:04}/1.png": image(k) for k in range(1000)}
    files |= {f"test/n0001/{n}{long}.txt": b"" for n in range(2000)}
    found = about(fetch("many", home, source=laid("x", files)))
    lines = dict(found.lines())
    assert lines["classes"] == "1,000: n0000, n0001, n0002 and 997 more"
    assert lines["left out"].startswith("no image: 2,000 (") and lines["left out"].endswith(" and 1,997 more)")
    assert max(map(len, lines.values())) < 300
    document = found.document()
    assert len(document["classes"]) == 1000 and document["left_out"][0]["count"] == 2000


def test_of_the_catalog_only_what_it_does_not_say(home: Home, image: Make, laid: Make) -> None:
    assert [title for title, _ in about(fetch("digits", home)).lines()] == ["images"]
    part = about(fetch("dtd", home, source=laid("x", {"banded/1.jpg": image(1, 12, "JPEG")})))
    assert dict(part.lines()) == {
        "images": "1 test (0 to 1 a class)", "a part": "test: 1 of 1,880 test images, 1 of 47 classes"
    }  # fmt: skip
    assert part.document()["part"] == {"test": "1 of 1,880 test images, 1 of 47 classes"}


def test_a_file_of_an_earlier_version_says_what_it_can(home: Home, birds: Path, as_first_written: Make) -> None:
    as_first_written(fetch("birds", home, source=birds, skip_broken=True).path)
    assert [title for title, _ in about(fetch("birds", home)).lines()] == ["classes", "images", "attacked at", "prompt"]


@pytest.fixture
def typed(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    monkeypatch.setenv("MMCOA_HOME", str(home.root))

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["fetch", *words])
        assert result.exit_code == 0, result.output
        return result.stdout

    yield run


def test_below_what_was_fetched(typed: Callable[..., str], birds: Path) -> None:
    lines = typed("birds", "--from", str(birds), "--skip-broken").splitlines()
    assert lines[0].startswith("birds: fetched")
    assert lines[1].split() == ["classes", "2:", "a_robin,", "b_wren"]
    (one,) = json.loads(typed("birds", "--json"))["fetched"]
    assert one["about"]["changes"] == {"turned as their EXIF orientation says": 1, "scaled from 16 to 8 bits": 1}
    assert not one["new"] and one["about"]["splits"] == {"train": 3, "test": 2}
