"""What several test files share: CLIPs small enough to be built anew in each, and the stand-ins where they lie."""

from __future__ import annotations

import copy
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mmcoa_cli.models import Clip, load_clip, new_clip

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VIT = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 16, "layers": 2, "width": 32, "head_width": 16, "patch_size": 4},
    "text_cfg": TEXT,
}
RESNET = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
    "text_cfg": TEXT,
}
torch.set_num_threads(1)  # for models this small, threads that wait for each other cost more than they give

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
STAND_INS = {"vit": "clip-vit-cifar10-selftrained", "resnet": "clip-rn-cifar10-selftrained"}


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and weights beside the checkout; tests that need it are skipped where it is not."""
    folder = Path(__file__).parents[2].parent / "shared"
    if not (folder / "models").is_dir():
        pytest.skip("needs the folder ../shared with real data and weights, which is no part of the project")
    return folder


@pytest.fixture(scope="session")
def small_clips() -> dict[str, Clip]:
    """With random weights: a ViT of 16 pixels, and a ResNet of 32 whose BatchNorm has seen some images."""
    clips = {"vit": new_clip(VIT, name="vit", seed=0), "resnet": new_clip(RESNET, name="resnet", seed=0)}
    resnet = clips["resnet"].model
    with torch.no_grad():
        resnet.train()
        for _ in range(20):
            clips["resnet"].encode_images(torch.rand(32, 3, 32, 32))
        resnet.eval()
    return clips


@pytest.fixture(params=["vit", "resnet"])
def clip(request: pytest.FixtureRequest, small_clips: dict[str, Clip]) -> Clip:
    """A small CLIP of either family, for one test to do with as it likes."""
    original = small_clips[request.param]
    return copy.deepcopy(original, {id(original.tokenizer): original.tokenizer})


@pytest.fixture(params=["vit", "resnet"])
def stand_in(request: pytest.FixtureRequest, shared: Path) -> Clip:
    """A CLIP trained on CIFAR-10: a ViT of 32 pixels, or a ResNet of 64."""
    return load_clip(shared / "models" / STAND_INS[request.param], name=request.param)


@pytest.fixture(scope="session")
def cifar10(shared: Path) -> tuple[Tensor, Tensor]:
    """The first ten test images of each class of CIFAR-10, (100, 3, 32, 32) in [0, 1], and their labels."""
    with zipfile.ZipFile(shared / "data" / "cifar10.zip") as archive:
        names = sorted(name for name in archive.namelist() if "/test/" in f"/{name}" and not name.endswith("/"))
        of_class = [[name for name in names if f"/{k}/" in name][:10] for k in CIFAR10]
        images = [np.asarray(Image.open(archive.open(name)).convert("RGB")) for ten in of_class for name in ten]
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return pixels.float() / 255, torch.arange(10).repeat_interleave(10)
