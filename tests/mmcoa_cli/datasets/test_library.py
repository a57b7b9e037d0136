"""Opening a dataset imports nothing of what fetching one takes; and arrows between the folders run one way."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from entered import ROOT, entered, imported

from mmcoa_cli.datasets.fetching import fetch_dataset
from mmcoa_cli.datasets.library import open_dataset
from mmcoa_cli.settings import Home
from store.dataset_writing import DatasetWriter
from store.errors import UserError

FETCHING = {
    "huggingface_hub", "requests", "zipfile", "tarfile", "pyarrow", "torch", "torchvision", "transformers", "sklearn"
}  # fmt: skip
OPEN = """
from mmcoa_cli.datasets.library import attacked_at, open_classes
from mmcoa_cli.datasets.pixels import load_pixels
from mmcoa_cli.datasets.prompts import class_prompts
from mmcoa_cli.datasets.sampling import balanced_subset
from mmcoa_cli.settings import home
dataset = attacked_at(open_classes("digits", home()), 16)
assert len(balanced_subset(dataset.labels("test"), 20, seed=0)) == 20
assert load_pixels(dataset, "test", [0]).shape == (1, 16, 16, 3)
assert class_prompts(dataset.info.class_names, dataset.info.template)
"""
MODELS = """
import mmcoa_cli.models.digests, mmcoa_cli.models.library, mmcoa_cli.models.current_digests
"""


@pytest.mark.parametrize(
    ("code", "above"), [(OPEN, set()), (MODELS, {"zipfile"})], ids=["a dataset", "what is there of models"]
)
def test_opening_imports_nothing_of_what_fetches(code: str, above: set[str], tmp_path: Path) -> None:
    """SQLAlchemy, which models.current_digests takes runs from, imports zipfile by itself."""
    fetch_dataset("digits", Home(tmp_path, ""))
    found = entered("-c", code, env={**os.environ, "MMCOA_HOME": str(tmp_path)})
    assert not found.heavy & (FETCHING - above)
    assert not [name for name in found.own if "datasets.formats" in name or "datasets.sources" in name]
    assert found.own


def test_a_name_opens_no_other_dataset_that_has_its_place(tmp_path: Path) -> None:
    """Every sign but a letter, a digit and a few marks is "-" in a file's name."""
    home = Home(tmp_path, "")
    with DatasetWriter(
        home.datasets / "x-.h5", name="x犬", class_names=("a", "b"), pixel_size=8, resize=None, template="a {}",
        source="here", image_size=8,
    ) as writer:  # fmt: skip
        writer.add("test", np.zeros((8, 8, 3), np.uint8), 0)
    for name in ("x犬", "x-"):
        open_dataset(name, home).close()
    with pytest.raises(UserError, match="there is no dataset called 'x猫'"):
        open_dataset("x猫", home)


def modules(folder: str) -> list[str]:
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / folder).rglob("*.py")
    ]


def test_sources_know_no_format() -> None:
    for module in modules("mmcoa_cli/datasets/sources"):
        wrong = [name for name in imported(module, lazy=True) if ".formats" in name]
        assert not wrong, f"{module} imports {wrong}"


def test_the_store_knows_nothing_of_the_tool() -> None:
    for module in modules("store"):
        wrong = [name for name in imported(module, lazy=True) if name.startswith("mmcoa_cli")]
        assert not wrong, f"{module} imports {wrong}"
