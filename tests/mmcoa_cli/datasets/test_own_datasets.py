"""A dataset of one's own: which classes, template and image size it gets."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmcoa_cli import catalog
from mmcoa_cli.catalog import DatasetRow, Kind
from mmcoa_cli.datasets.decoding import SCALED, TURNED
from mmcoa_cli.datasets.library import open_classes, open_dataset
from mmcoa_cli.datasets.pixels import load_pixels
from mmcoa_cli.datasets.prompts import class_prompts
from mmcoa_cli.datasets.request import require_template
from mmcoa_cli.inventory import fetch
from mmcoa_cli.settings import Home
from store.errors import UserError

Make = Callable[..., Any]


@pytest.fixture
def birds(image: Make, laid: Make) -> Path:
    """Two classes in folders, a train and a test image of each."""
    paths = (f"{split}/{bird}/1.png" for split in ("train", "test") for bird in ("a-robin", "b-wren"))
    return laid("birds", {path: image(number) for number, path in enumerate(paths)})


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("names.txt", "Robin\nWren\n"), ("names.txt", "\n  Robin \r\n\nWren"), ("names.json", '["Robin", "Wren"]'),
        ("NAMES.JSON", '["Robin", " Wren"]'), ("names", "Robin\nWren"),
    ],
)  # fmt: skip
def test_names_for_the_classes(home: Home, birds: Path, tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    fetch("birds", home, source=birds, class_names=tmp_path / file, template="a photo of a {}, a bird.")
    with open_dataset("birds", home) as dataset:
        info = dataset.info
        assert class_prompts(info.class_names, info.template) == [
            "a photo of a robin, a bird.", "a photo of a wren, a bird."
        ]  # fmt: skip
        assert dataset.labels("test").tolist() == [0, 1]


def test_a_template_alone_leaves_the_names_of_the_folders(home: Home, birds: Path) -> None:
    fetch("birds", home, source=birds, template="{}?")
    with open_dataset("birds", home) as dataset:
        assert (dataset.info.class_names, dataset.info.template) == (("a-robin", "b-wren"), "{}?")


def test_without_either_the_papers_template(home: Home, birds: Path) -> None:
    fetch("birds", home, source=birds)
    with open_dataset("birds", home) as dataset:
        assert dataset.info.template == catalog.TEMPLATE
        assert dataset.info.part("test") == dataset.info.part("train") == ""


@pytest.mark.parametrize(
    ("file", "content", "line"),
    [
        ("n.txt", b"Robin\nWren\nHeron\n", "3 class names are given, and birds has 2 classes"),
        ("n.txt", b"Robin", "1 class names are given, and birds has 2 classes"),
        ("n.txt", b"Wren\nwren", "same name in prompts"),
        ("n.json", b'["Robin", 2]', "is no list of names"),
        ("n.json", b'{"a": "Robin"}', "is no list of names"),
        ("n.json", b'["Robin"', "cannot read the class names"),
        ("n.json", b"[" * 100_000, "cannot read the class names"),
        ("n.txt", b"\xff\xfe\x00", "cannot read the class names"),
        ("n.txt", b"\n \n", "there are no names"),
        ("folder", None, "cannot read the class names"),
        ("nowhere", None, "cannot read the class names"),
    ],
)
def test_names_that_do_not_do(
    home: Home, birds: Path, tmp_path: Path, file: str, content: bytes | None, line: str
) -> None:
    (tmp_path / "folder").mkdir()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=line) as caught:
        fetch("birds", home, source=birds, class_names=tmp_path / file)
    assert "\n" not in str(caught.value) and caught.value.hint
    assert not (home.datasets / "birds.h5").exists()


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "", "{0}", "{name}"])
def test_a_template_without_one_place_for_the_class(template: str) -> None:
    with pytest.raises(UserError, match="no place for the class") as caught:
        require_template(template)
    assert "{}" in caught.value.hint


def test_a_dataset_of_the_catalog_has_its_own(home: Home, birds: Path) -> None:
    with pytest.raises(UserError, match="cifar10 has its class names and template in the catalog") as caught:
        fetch("cifar10", home, source=birds, template="a {}")
    assert "mmcoa fetch my-cifar10 --from PATH" in caught.value.hint


@pytest.mark.parametrize(("name", "kind"), [("ViT-B-32", None), ("tiny-mlm", None), ("mine", Kind.clip)])
def test_a_model_has_no_classes(home: Home, birds: Path, name: str, kind: Kind | None) -> None:
    with pytest.raises(UserError, match="no dataset and has no classes"):
        fetch(name, home, source=birds, kind=kind, template="a {}")


def test_folders_of_classes_alone_are_a_test_set(home: Home, image: Make, laid: Make) -> None:
    files = {f"photos/{bird}/{n}.png": image(n) for bird in ("wren", "robin") for n in range(3)}
    fetch("birds", home, source=laid("x", files))
    with open_dataset("birds", home) as dataset:
        assert dataset.info.splits == {"test": 6}
        assert dataset.info.class_names == ("robin", "wren")


@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_a_split(packed: bool, image: Make, laid: Make, zip_of: Make, home: Home) -> None:
    """train.zip beside test.zip, with or without a folder of the split in them."""
    archives = {
        f"{split}.zip": zip_of({f"{split}/{bird}/1.png" if packed else f"{bird}/1.png": image(n) for n, bird in birds})
        for split, birds in (("train", [(1, "robin"), (2, "wren")]), ("test", [(3, "robin"), (4, "wren")]))
    }
    fetch("birds", home, source=laid("x", archives))
    with open_dataset("birds", home) as dataset:
        assert dataset.info.splits == {"train": 2, "test": 2}
        assert dataset.info.class_names == ("robin", "wren")


@pytest.mark.parametrize("folder", ["train", "Test", "validation"])
def test_a_split_without_classes_is_no_class(folder: str, home: Home, image: Make, laid: Make) -> None:
    with pytest.raises(UserError, match="no images in folders of classes"):
        fetch("birds", home, source=laid("x", {f"{folder}/1.png": image(0), f"{folder}/2.png": image(1)}))


def test_a_part_of_a_catalog_dataset_keeps_the_prompts_of_all_classes(home: Home, image: Make, laid: Make) -> None:
    files = {f"{name}/{n}.jpg": image(n, (9, 12), "JPEG") for name in ("zigzagged", "banded") for n in range(3)}
    fetch("dtd", home, source=laid("x", files))
    with open_classes("dtd", home) as dataset:
        assert len(dataset.info.class_names) == 47
        assert dataset.labels("test").tolist() == [0, 0, 0, 46, 46, 46]
        assert dataset.info.part("test") == "6 of 1,880 test images, 2 of 47 classes"


def test_what_a_part_lacks_is_said_when_it_is_fetched(
    home: Home, image: Make, laid: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch("dtd", home, source=laid("x", {"banded/1.jpg": image(1, 12, "JPEG")}))
    assert "dtd is not the whole dataset" in " ".join(capsys.readouterr().err.split())


def test_a_dataset_of_captions_has_no_classes(home: Home, image: Make, laid: Make) -> None:
    entry = [{"image": "val2014/a.jpg", "caption": list("abcde")}]
    files = {"val2014/a.jpg": image(0, 20, "JPEG"), "coco_test.json": json.dumps(entry).encode()}
    fetch("mscoco", home, source=laid("x", files))
    with pytest.raises(UserError, match="captions and no classes"):
        open_classes("mscoco", home)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_images_of_any_format(kind: str, mode: str, fetched: Make, laid: Make) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (8, 8), 7 if mode == "L" else (7, 7, 7)).save(buffer, kind)
    files = {f"test/{name}/1.{kind.lower()}": buffer.getvalue() for name in "ab"}
    dataset = fetched(DatasetRow("x"), laid("x", files))
    pixels = dataset.images("test", [0])[0]
    assert pixels.shape == (8, 8, 3) and abs(int(pixels.max()) - 7) <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "CMYK", "I;16"])
def test_images_of_other_modes(mode: str, fetched: Make, laid: Make) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (8, 8)).save(buffer, "JPEG" if mode == "CMYK" else "PNG")
    dataset = fetched(DatasetRow("x"), laid("x", {f"test/{name}/1.png": buffer.getvalue() for name in "ab"}))
    assert dataset.images("test", [0])[0].shape == (8, 8, 3)


def test_turned_images_are_turned_where_they_are_attacked(home: Home, laid: Make) -> None:
    """Images of varying size are kept as they are encoded: the file says that decoding them turns them."""
    exif = Image.Exif()
    exif[274] = 6
    wide = Image.new("RGB", (300, 400), "red")
    wide.paste("blue", (0, 0, 300, 200))
    buffer = io.BytesIO()
    wide.save(buffer, "PNG", exif=exif)
    fetch("birds", home, source=laid("x", {"test/a/1.png": buffer.getvalue(), "test/b/1.png": buffer.getvalue()}))
    with open_dataset("birds", home) as dataset:
        pixels = load_pixels(dataset, "test", [0])[0]
        assert dataset.info.oriented and dataset.info.changes == {TURNED: 2}
    assert pixels[:, 200].tolist() == [[0, 0, 255]] * 224 and pixels[:, 20].tolist() == [[255, 0, 0]] * 224


def test_16_bits_are_scaled_where_they_are_attacked(home: Home, laid: Make) -> None:
    for number, value in enumerate((0, 257 * 7, 65535)):
        buffer = io.BytesIO()
        Image.new("I;16", (30, 40), value).save(buffer, "PNG")
        fetch(f"x{number}", home, source=laid(f"x{number}", {f"test/{k}/1.png": buffer.getvalue() for k in "ab"}))
        with open_dataset(f"x{number}", home) as dataset:
            assert np.unique(load_pixels(dataset, "test", [0, 1])).tolist() == [value // 257]
            assert dataset.info.changes == {SCALED: 2}
