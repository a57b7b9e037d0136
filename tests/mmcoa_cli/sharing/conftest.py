"""What the tests of handing on share: a run of two epochs on a few digits, tested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcoa_cli.jobs import launch
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.job import Job
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.settings import Home

SMALL = {"dataset": "digits", "shots": "2", "model": "vit", "epochs": 2, "batch_size": 10, "eps": "8/255", "steps": 2}
UNDER = {"eps": "8/255", "alpha": "4/255", "steps": 2}


@pytest.fixture
def run(home: Home) -> str:
    """A run of two epochs whose last was tested clean and under an attack, on all 500 test images."""
    made = launch.run(Job(train_spec("tecoa", **SMALL, lr=1e-2), keep=None)).run
    launch.run(Job(evaluate=evaluation_spec(made, ("digits",), ("clean", "image"), **UNDER)))
    return made


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """An image of the size of the models' input, so that no library has to resize it."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png"
