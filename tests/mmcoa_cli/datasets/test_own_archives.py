"""STL-10, TinyImageNet, Flowers-102 and COCO, as miniatures of their own archives."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets as published

from mmcoa_cli import catalog
from mmcoa_cli.datasets.library import attacked_at
from mmcoa_cli.datasets.pixels import load_pixels
from store.errors import UserError

Contents = dict[str, bytes]
Make = Callable[..., Any]
ROWS = catalog.datasets()


def pixels(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


# ------------------------------------------------------------------------------------------------------------- STL-10


def stl10(count: int = 3) -> Contents:
    """Planes first, and in a plane columns before rows, as MATLAB writes; labels from 1."""
    files: Contents = {"class_names.txt": b"airplane\nbird\n", "fold_indices.txt": b"0 1\n", "unlabeled_X.bin": b""}
    for seed, split in enumerate(("train", "test")):
        rng = np.random.default_rng(seed)
        files[f"{split}_X.bin"] = rng.integers(0, 256, (count, 3, 96, 96), np.uint8).tobytes()
        files[f"{split}_y.bin"] = rng.integers(1, 11, count, np.uint8).tobytes()
    return {f"stl10_binary/{name}": data for name, data in files.items()}


def test_stl10_images_stand_upright(laid: Make, fetched: Make) -> None:
    """One white row and one red column, written as a person would who reads the dataset's page."""
    picture = np.zeros((96, 96, 3), np.uint8)
    picture[5] = 255  # the sixth row from above
    picture[:, 70] = (255, 0, 0)
    column_by_column = b"".join(bytes(picture[:, column, plane]) for plane in range(3) for column in range(96))
    files = stl10() | {"stl10_binary/test_X.bin": column_by_column, "stl10_binary/test_y.bin": b"\x08"}
    dataset = fetched("stl10", laid("x", files))
    np.testing.assert_array_equal(dataset.images("test", [0])[0], picture)
    assert dataset.info.class_names[dataset.labels("test")[0]] == "monkey"


def test_stl10_as_torchvision_reads_it(
    laid: Make, tar_of: Make, serve: Make, fetched: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its check of the official files' sums is left out, its reading is not."""
    files = stl10()
    monkeypatch.setattr(published.STL10, "_check_integrity", lambda _: True)
    laid("root", files)
    dataset = fetched("stl10", serve({"stl10_binary.tar.gz": tar_of(files)}), splits={"train": 3, "test": 3})
    for split in ("train", "test"):
        expected = published.STL10(tmp_path / "root", split=split)
        for number in range(3):
            image, label = expected[number]
            np.testing.assert_array_equal(dataset.images(split, [number])[0], np.asarray(image))
            assert dataset.labels(split)[number] == label
    assert fetched("stl10", laid("x", files)).info.checksum == dataset.info.checksum


@pytest.mark.parametrize("labels", [b"", b"\x01", b"\x00\x01\x02", b"\x01\x02\x0b", b"\xff\x01\x01", b"\x01" * 4])
def test_stl10_with_wrong_labels(labels: bytes, laid: Make, fetched: Make) -> None:
    with pytest.raises(UserError, match=r"test_X\.bin in x has not one label for each image"):
        fetched("stl10", laid("x", stl10() | {"stl10_binary/test_y.bin": labels}))


# ------------------------------------------------------------------------------------------------------ TinyImageNet


def tiny(image: Make) -> Contents:
    folders = ROWS["tinyimagenet"].folders
    files = {"wnids.txt": "\n".join(folders).encode(), "words.txt": b"n01443537\tgoldfish, Carassius auratus\n"}
    for number, wnid in enumerate(folders[:4]):
        for place in range(2):
            files[f"train/{wnid}/images/{wnid}_{place}.JPEG"] = image(2 * number + place, 64, "JPEG")
        files[f"train/{wnid}/{wnid}_boxes.txt"] = f"{wnid}_0.JPEG\t0\t0\t62\t62\n".encode()
    val = [folders[number] for number in (3, 199, 0)]
    for number in range(3):
        files[f"val/images/val_{number}.JPEG"] = image(50 + number, 64, "JPEG")
    lines = [f"val_{number}.JPEG\t{wnid}\t0\t32\t44\t62\n" for number, wnid in enumerate(val)]
    files["val/val_annotations.txt"] = "".join(lines).encode()
    files["test/images/test_0.JPEG"] = image(99, 64, "JPEG")
    return {f"tiny-imagenet-200/{path}": data for path, data in files.items()}


def test_tinyimagenet(image: Make, zip_of: Make, laid: Make, serve: Make, fetched: Make) -> None:
    files = tiny(image)
    dataset = fetched("tinyimagenet", serve({"tiny-imagenet-200.zip": zip_of(files)}), splits={"train": 8, "test": 3})
    assert dataset.labels("train").tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert dataset.labels("test").tolist() == [3, 199, 0]
    for number in range(3):
        expected = pixels(files[f"tiny-imagenet-200/val/images/val_{number}.JPEG"])
        np.testing.assert_array_equal(dataset.images("test", [number])[0], expected)
    assert dataset.info.class_names[199] == ROWS["tinyimagenet"].class_names[199]
    unpacked = laid("x", files)
    for folder in (unpacked, unpacked / "tiny-imagenet-200"):
        assert fetched("tinyimagenet", folder).info.checksum == dataset.info.checksum


def test_tinyimagenets_validation_images_in_folders_of_classes(image: Make, laid: Make, fetched: Make) -> None:
    """As a much-used script sorts them."""
    folders = ROWS["tinyimagenet"].folders
    files = {
        f"train/{folders[2]}/images/a.JPEG": image(0, 64, "JPEG"),
        f"val/{folders[5]}/b.JPEG": image(1, 64, "JPEG"),
    }
    dataset = fetched("tinyimagenet", laid("x", files))
    assert (dataset.labels("train").tolist(), dataset.labels("test").tolist()) == ([2], [5])


def test_tinyimagenet_with_a_class_that_it_has_not(image: Make, laid: Make, fetched: Make) -> None:
    files = tiny(image)
    path = "tiny-imagenet-200/val/val_annotations.txt"
    files[path] = files[path].replace(ROWS["tinyimagenet"].folders[3].encode(), b"n01440764")
    with pytest.raises(UserError, match="'n01440764' is no class of tinyimagenet"):
        fetched("tinyimagenet", laid("x", files))


def test_real_images_of_tinyimagenet(shared: Path, laid: Make, fetched: Make) -> None:
    """The first image of each class, in `test/<wnid>/` beside a classes.json with other names than ours."""
    files, seen = {}, set()
    with zipfile.ZipFile(shared / "data" / "tinyimagenet.zip") as archive:
        for path in archive.namelist():
            wnid = path.split("/")[-2] if path.count("/") > 1 else ""
            if path.endswith("classes.json") or ("test/" in path and wnid not in seen and not path.endswith("/")):
                seen.add(wnid)
                files[path] = archive.read(path)
    dataset = fetched("tinyimagenet", laid("x", files))
    assert dataset.labels("test").tolist() == list(range(200))
    assert dataset.info.part("test") == "200 of 10,000 test images"


# ------------------------------------------------------------------------------------------------------- Flowers-102

SPLITS = {"trnid": [3, 1, 6], "valid": [2, 5], "tstid": [8, 4, 7]}


def matlab(**variables: Any) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, {name: np.atleast_2d(value) for name, value in variables.items()}, do_compression=True)
    return buffer.getvalue()


def flowers(image: Make) -> Contents:
    labels = np.array([77, 1, 102, 5, 5, 77, 1, 102], np.uint8)
    images = {f"jpg/image_{n:05}.jpg": image(n, (8, 10), "JPEG") for n in range(1, 9)}
    splits = {name: np.array(numbers, np.uint16) for name, numbers in SPLITS.items()}
    return images | {"imagelabels.mat": matlab(labels=labels), "setid.mat": matlab(**splits)}


def flower_archives(files: Contents, tar_of: Make) -> Contents:
    images = {path: data for path, data in files.items() if path.startswith("jpg/")}
    return {"102flowers.tgz": tar_of(images), **{path: data for path, data in files.items() if path not in images}}


def test_flowers102_as_torchvision_reads_it(
    image: Make, tar_of: Make, laid: Make, serve: Make, fetched: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its check of the official files' sums is left out, its reading is not."""
    files = flowers(image)
    monkeypatch.setattr(published.Flowers102, "_check_integrity", lambda _: True)
    laid("root/flowers-102", files)
    splits = {"train": 3, "val": 2, "test": 3}
    dataset = fetched("flowers102", serve(flower_archives(files, tar_of)), splits=splits)
    for split in splits:
        expected = published.Flowers102(tmp_path / "root", split=split)
        theirs = sorted((label, np.asarray(picture).tobytes()) for picture, label in expected)
        images = dataset.images(split, range(splits[split]))
        assert (
            sorted((k, pixels(b).tobytes()) for k, b in zip(dataset.labels(split).tolist(), images, strict=True))
            == theirs
        )
    for place in (laid("x", files), laid("archives", flower_archives(files, tar_of))):
        assert fetched("flowers102", place).info.checksum == dataset.info.checksum


def test_some_images_of_flowers102(image: Make, laid: Make, fetched: Make) -> None:
    files = flowers(image)
    del files["jpg/image_00004.jpg"]
    info = fetched("flowers102", laid("x", files)).info
    assert info.splits == {"train": 3, "val": 2, "test": 2}
    assert info.part("test") == "2 of 6,149 test images, 2 of 102 classes"


@pytest.mark.parametrize("name", ["imagelabels.mat", "setid.mat"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"", lambda _: b"no matlab file, and none of its numbers", lambda data: data[:150],
        lambda data: data[:-20], lambda _: matlab(other=[1]), lambda _: matlab(labels="ab", trnid="ab"),
        lambda data: data[:128] + bytes(200),
    ],
)  # fmt: skip
def test_flowers102_with_a_damaged_list(
    name: str, damage: Callable[[bytes], bytes], image: Make, laid: Make, fetched: Make
) -> None:
    files = flowers(image)
    with pytest.raises(UserError) as caught:
        fetched("flowers102", laid("x", files | {name: damage(files[name])}))
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_flowers102_with_lists_of_images_and_classes_that_are_not_there(image: Make, laid: Make, fetched: Make) -> None:
    files = flowers(image)
    files["setid.mat"] = matlab(trnid=[0, 9, 70_000], valid=[1], tstid=[2])
    files["imagelabels.mat"] = matlab(labels=[103, 102, 1, 1, 1, 1, 1, 1])
    dataset = fetched("flowers102", laid("x", files))
    assert dataset.info.splits == {"test": 1}
    assert dataset.labels("test").tolist() == [101]


# --------------------------------------------------------------------------------------------------------------- COCO


def coco_images(image: Make) -> Contents:
    return {f"val2014/COCO_val2014_{n:012}.jpg": image(n, (20, 24 + n), "JPEG") for n in range(1, 5)}


def captions_of(number: int, count: int = 5) -> list[str]:
    return [f"A caption {place} of image {number}, naïve." for place in range(count)]


def karpathy() -> bytes:
    """`dataset_coco.json`: image 1 is for training, 3 has six captions, 9 is no image that is there."""
    images = [
        {
            "filepath": "val2014", "filename": f"COCO_val2014_{n:012}.jpg", "cocoid": n, "imgid": n,
            "split": {1: "train", 2: "test", 3: "test", 4: "restval", 9: "test"}[n], "sentids": [],
            "sentences": [{"raw": f" {text}\n", "tokens": []} for text in captions_of(n, 6 if n == 3 else 5)],
        }
        for n in (9, 3, 1, 2, 4)
    ]  # fmt: skip
    return json.dumps({"dataset": "coco", "images": images}).encode()


def albef() -> bytes:
    entries = [{"image": f"val2014/COCO_val2014_{n:012}.jpg", "caption": captions_of(n)} for n in (3, 2)]
    return json.dumps(entries).encode()


@pytest.mark.parametrize(("name", "listing"), [("dataset_coco.json", karpathy()), ("coco_test.json", albef())])
def test_coco(name: str, listing: bytes, image: Make, zip_of: Make, laid: Make, serve: Make, fetched: Make) -> None:
    images = coco_images(image)
    unpacked = laid("x", {**images, name: listing})
    dataset = fetched("mscoco", unpacked)
    assert dataset.info.splits == {"test": 2}
    assert dataset.images("test", [0, 1]) == [images[f"val2014/COCO_val2014_{n:012}.jpg"] for n in (2, 3)]
    assert dataset.captions("test") == [captions_of(2), captions_of(3)]
    assert dataset.labels("test").tolist() == [-1, -1]
    assert dataset.info.part("test") == "2 of 5,000 test images"
    assert load_pixels(dataset, "test", [1, 0]).shape == (2, 224, 224, 3)
    assert (dataset.info.resize, attacked_at(dataset, 32).info.resize) == (224, 32)  # the whole shorter side
    archives = {"caption_datasets.zip": zip_of({name: listing}), "val2014.zip": zip_of(images)}
    downloaded = fetched("mscoco", serve(archives), splits={"test": 2})
    assert downloaded.info.checksum == dataset.info.checksum
    assert downloaded.info.part("test") == ""


@pytest.mark.parametrize(
    "listing",
    [
        b"", b"{}", b"[1]", b"null", b'"text"', b"[" * 100_000, b'{"images": [{"split": "test"}]}', b"\xff",
        b'[{"image": 1}]',
    ],
)  # fmt: skip
def test_captions_that_are_none(listing: bytes, image: Make, laid: Make, fetched: Make) -> None:
    with pytest.raises(UserError, match=r"dataset_coco\.json in x holds no captions"):
        fetched("mscoco", laid("x", coco_images(image) | {"dataset_coco.json": listing}))


def test_an_image_with_too_few_captions(image: Make, laid: Make, fetched: Make) -> None:
    entry = [{"image": "val2014/COCO_val2014_000000000002.jpg", "caption": captions_of(2, 4)}]
    with pytest.raises(UserError) as caught:
        fetched("mscoco", laid("x", coco_images(image) | {"coco_test.json": json.dumps(entry).encode()}))
    assert "4 captions" in str(caught.value) and caught.value.hint


def test_captions_beside_images_that_are_still_packed(image: Make, zip_of: Make, laid: Make, fetched: Make) -> None:
    images = coco_images(image)
    whole = fetched("mscoco", laid("x", {**images, "dataset_coco.json": karpathy()}))
    packed = laid("y", {"val2014.zip": zip_of(images), "dataset_coco.json": karpathy()})
    assert fetched("mscoco", packed).info.checksum == whole.info.checksum


def test_images_of_coco_without_captions(image: Make, laid: Make, fetched: Make) -> None:
    with pytest.raises(UserError, match="x holds no images with captions") as caught:
        fetched("mscoco", laid("x", coco_images(image)))
    assert "dataset_coco.json" in caught.value.hint


def test_the_captions_that_are_shared(shared: Path, image: Make, laid: Make, fetched: Make) -> None:
    """Karpathy's test captions of COCO, with two of its images made up."""
    listing = (shared / "data" / "captions" / "coco_test.json").read_bytes()
    entries = json.loads(listing)
    names = sorted(entry["image"] for entry in entries[:2])
    files = {name: image(number, (20, 30), "JPEG") for number, name in enumerate(names)}
    dataset = fetched("mscoco", laid("x", {**files, "coco_test.json": listing}))
    of_name = {entry["image"]: [line.strip() for line in entry["caption"][:5]] for entry in entries[:2]}
    assert dataset.captions("test") == [of_name[name] for name in names]
