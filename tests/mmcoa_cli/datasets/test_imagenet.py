"""ImageNet as it lies about: the official tars, folders of classes, and the copy on Kaggle."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from mmcoa_cli import catalog
from store.datasets import Dataset
from store.errors import UserError

Contents = dict[str, bytes]
Make = Callable[..., Any]
ROW = catalog.datasets()["imagenet"]
WNIDS = ["n01440764", "n02099601", "n15075141"]
NUMBERS = {"n02099601": 1, "n15075141": 2, "n01440764": 3}  # as in the kit: not in the order of the wnids
VAL = ["n15075141", "n01440764", "n02099601", "n15075141"]
TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def train_images(image: Make) -> Contents:
    """`n01440764/n01440764_0.JPEG` and so on, two a class."""
    return {
        f"{wnid}/{wnid}_{place}.JPEG": image(10 * number + place, (9, 11), "JPEG")
        for number, wnid in enumerate(WNIDS)
        for place in range(2)
    }


def val_images(image: Make) -> Contents:
    return {f"ILSVRC2012_val_{n:08}.JPEG": image(100 + n, (9, 12), "JPEG") for n in range(1, len(VAL) + 1)}


def meta() -> bytes:
    """`meta.mat`: the classes, and above them the groups of WordNet, which have numbers beyond theirs."""
    kinds = [
        ("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("gloss", object), ("num_children", object),
        ("children", object), ("wordnet_height", object), ("num_train_images", object),
    ]  # fmt: skip
    synsets = np.empty((len(NUMBERS) + 1, 1), dtype=kinds)
    for place, (wnid, number) in enumerate([*NUMBERS.items(), ("n00001740", 1001)]):
        children = np.arange(1, 4) if number > 1000 else np.empty((1, 0))
        row = (float(number), wnid, "a, b", "gloss", float(children.size), children, 0.0, 1300.0)
        synsets[place, 0] = row
    buffer = io.BytesIO()
    savemat(buffer, {"synsets": synsets})
    return buffer.getvalue()


def devkit() -> Contents:
    truth = "".join(f"{NUMBERS[wnid]}\n" for wnid in VAL)
    return {
        "ILSVRC2012_devkit_t12/data/meta.mat": meta(),
        f"ILSVRC2012_devkit_t12/data/{TRUTH}": truth.encode(),
        "ILSVRC2012_devkit_t12/readme.txt": b"ILSVRC2012",
    }


def official(image: Make, tar_of: Make) -> Contents:
    of_class: dict[str, Contents] = {}
    for path, data in train_images(image).items():
        of_class.setdefault(path.split("/")[0], {})[path.split("/")[1]] = data
    tars = {f"{wnid}.tar": tar_of(images, "w") for wnid, images in of_class.items()}
    return {
        "ILSVRC2012_img_train.tar": tar_of(tars, "w"),
        "ILSVRC2012_img_val.tar": tar_of(val_images(image), "w"),
        "ILSVRC2012_devkit_t12.tar.gz": tar_of(devkit()),
    }


def kaggle(image: Make) -> Contents:
    boxes = "1 2 3 4"
    lines = [f"ILSVRC2012_val_{n:08},{wnid} {boxes} {wnid} {boxes}" for n, wnid in enumerate(VAL, 1)]
    base = "ILSVRC/Data/CLS-LOC"
    return {
        **{f"{base}/train/{path}": data for path, data in train_images(image).items()},
        **{f"{base}/val/{path}": data for path, data in val_images(image).items()},
        f"{base}/test/ILSVRC2012_test_00000001.JPEG": image(7, 9, "JPEG"),
        "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000001.xml": b"<annotation/>",
        "LOC_val_solution.csv": "\n".join(["ImageId,PredictionString", *lines]).encode(),
        "LOC_train_solution.csv": b"ImageId,PredictionString\n",
        "LOC_synset_mapping.txt": b"n01440764 tench\n",
    }


def content(dataset: Dataset) -> dict[str, dict[bytes, str]]:
    """The wnid of each image of each split."""
    found = {}
    for split, count in dataset.info.splits.items():
        labels = dataset.labels(split).tolist()
        wnids = [ROW.folders[label] for label in labels]
        found[split] = dict(zip(dataset.images(split, range(count)), wnids, strict=True))
    return found


def expected(image: Make) -> dict[str, dict[bytes, str]]:
    train = {data: path.split("/")[0] for path, data in train_images(image).items()}
    return {"train": train, "test": dict(zip(val_images(image).values(), VAL, strict=True))}


def test_the_official_tars(image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    dataset = fetched("imagenet", laid("x", official(image, tar_of)))
    assert content(dataset) == expected(image)
    assert dataset.info.part("test") == "4 of 50,000 test images, 3 of 1,000 classes"
    assert dataset.info.part("train") == "6 of 1,281,167 train images, 3 of 1,000 classes"


def test_the_tar_of_a_class_may_lie_in_the_folder_itself(image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    files = official(image, tar_of)
    with tarfile.open(fileobj=io.BytesIO(files.pop("ILSVRC2012_img_train.tar"))) as archive:
        for member in archive.getmembers():
            files[f"train/{member.name}"] = archive.extractfile(member).read()  # type: ignore[union-attr]
    assert content(fetched("imagenet", laid("x", files))) == expected(image)


def test_one_archive_of_the_official_tars(
    image: Make, tar_of: Make, zip_of: Make, fetched: Make, tmp_path: Path
) -> None:
    files = official(image, tar_of)
    (tmp_path / "x.tar").write_bytes(tar_of({f"imagenet/{name}": data for name, data in files.items()}, "w"))
    (tmp_path / "x.zip").write_bytes(zip_of(files))
    for name in ("x.tar", "x.zip"):
        assert content(fetched("imagenet", tmp_path / name)) == expected(image)


def test_the_kit_may_be_unpacked(image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    files = official(image, tar_of)
    del files["ILSVRC2012_devkit_t12.tar.gz"]
    assert content(fetched("imagenet", laid("x", files | devkit()))) == expected(image)


def test_train_images_alone(image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    files = official(image, tar_of)
    only = {name: data for name, data in files.items() if "train" in name}
    assert content(fetched("imagenet", laid("x", only))) == {"train": expected(image)["train"]}


def test_val_images_alone(image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    files = official(image, tar_of)
    only = {name: data for name, data in files.items() if "train" not in name}
    assert content(fetched("imagenet", laid("x", only))) == {"test": expected(image)["test"]}


@pytest.mark.parametrize("above", ["", "imagenet/", "ILSVRC/Data/CLS-LOC/"])
def test_folders_of_classes(above: str, image: Make, laid: Make, fetched: Make) -> None:
    files = {f"{above}train/{path}": data for path, data in train_images(image).items()}
    for wnid, (name, data) in zip(VAL, val_images(image).items(), strict=True):
        files[f"{above}val/{wnid}/{name}"] = data
    assert content(fetched("imagenet", laid("x", files))) == expected(image)


def test_the_copy_on_kaggle(image: Make, laid: Make, zip_of: Make, fetched: Make, tmp_path: Path) -> None:
    files = kaggle(image)
    (tmp_path / "imagenet-object-localization-challenge.zip").write_bytes(zip_of(files))
    first = fetched("imagenet", laid("x", files))
    second = fetched("imagenet", tmp_path / "imagenet-object-localization-challenge.zip")
    assert content(first) == content(second) == expected(image)
    assert first.info.checksum == second.info.checksum


def test_val_images_in_a_folder_beside_the_kit(image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    """Tars that were unpacked: train images by class, val images flat, the kit packed or not."""
    files = {f"train/{path}": data for path, data in train_images(image).items()}
    files |= {f"val/{name}": data for name, data in val_images(image).items()}
    with pytest.raises(UserError, match="validation images without labels") as caught:
        fetched("imagenet", laid("x", files))
    assert "ILSVRC2012_devkit_t12.tar.gz" in caught.value.hint
    kit = {"ILSVRC2012_devkit_t12.tar.gz": tar_of(devkit())}
    assert content(fetched("imagenet", laid("y", files | kit))) == expected(image)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda kit: {**kit, f"ILSVRC2012_devkit_t12/data/{TRUTH}": b"1\n2\n"}, "has no label"),
        (lambda kit: {**kit, f"ILSVRC2012_devkit_t12/data/{TRUTH}": b"1\n2\nx\ny\n"}, "damaged"),
        (lambda kit: {**kit, f"ILSVRC2012_devkit_t12/data/{TRUTH}": b"1001\n" * 4}, "has no label"),
        (lambda kit: {**kit, "ILSVRC2012_devkit_t12/data/meta.mat": b"no matlab file"}, "damaged"),
        (lambda kit: {**kit, "ILSVRC2012_devkit_t12/data/meta.mat": meta()[:300]}, "damaged"),
        (lambda kit: {name: data for name, data in kit.items() if not name.endswith(".mat")}, "lacks"),
    ],
)
def test_a_kit_that_is_wrong(
    change: Callable[[Contents], Contents], line: str, image: Make, tar_of: Make, laid: Make, fetched: Make
) -> None:
    files = official(image, tar_of)
    files["ILSVRC2012_devkit_t12.tar.gz"] = tar_of(change(devkit()))
    with pytest.raises(UserError, match=line) as caught:
        fetched("imagenet", laid("x", files))
    assert "\n" not in str(caught.value) and caught.value.hint


def test_a_tar_of_a_class_that_imagenet_has_not(image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    train = tar_of({"n99999999.tar": tar_of({"x.JPEG": image(0, 9, "JPEG")}, "w")}, "w")
    with pytest.raises(UserError, match="'n99999999' is no class of imagenet"):
        fetched("imagenet", laid("x", {"ILSVRC2012_img_train.tar": train}))


def test_a_truncated_tar(image: Make, tar_of: Make, laid: Make, fetched: Make) -> None:
    files = official(image, tar_of)
    cut = files["ILSVRC2012_img_val.tar"][:1500]
    with pytest.raises(UserError, match="damaged"):
        fetched("imagenet", laid("x", files | {"ILSVRC2012_img_val.tar": cut}))
