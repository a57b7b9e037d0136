"""What several test files share: CLIPs small enough to be built anew in each, and the stand-ins where they lie."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from ready import Server, Started, as_in_a_terminal, variables
from torch import Tensor

from mmcoa_cli.datasets.fetching import fetch_dataset
from mmcoa_cli.models import embedded
from mmcoa_cli.models.clip import Clip, load_clip
from mmcoa_cli.models.masked_lm import quiet_transformers
from mmcoa_cli.models.new_clip import new_clip
from mmcoa_cli.models.pretraining import PretrainSpec, pretrain
from mmcoa_cli.settings import Home

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

TINY_TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
TINY_VIT = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 8, "layers": 1, "width": 32, "head_width": 16, "patch_size": 4},
    "text_cfg": TINY_TEXT,
}
TINY_RESNET = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
    "text_cfg": TINY_TEXT,
}

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


@pytest.fixture(scope="session")
def furnished(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A store with digits, two CLIPs that have learned a little of them (`vit`, `resnet`) and a masked LM (`mlm`)."""

    def fill(root: Path) -> None:
        home = home_at(root)
        fetch_dataset("digits", home)
        pretrain(PretrainSpec("vit", TINY_VIT, "digits", epochs=8, batch_size=16, lr=3e-3), home)
        pretrain(PretrainSpec("resnet", TINY_RESNET, "digits", epochs=1, lr=3e-3), home)
        _save_random_mlm(home.mlms / "mlm")

    return once("furnished", fill)


@pytest.fixture(scope="session")
def furnish(furnished: Path) -> Callable[[Path], Home]:
    """Makes a store at a path, with what `furnished` has and nothing else."""

    locks = shutil.ignore_patterns("*.lock")  # linked, they would be one for the stores of all tests

    def make(root: Path) -> Home:
        for folder in ("datasets", "models"):
            shutil.copytree(furnished / folder, root / folder, copy_function=os.link, ignore=locks)
        return home_at(root)

    return make


@pytest.fixture
def new_home(furnish: Callable[[Path], Home], tmp_path: Path) -> Callable[[str], Home]:
    """Makes another store of that name."""
    return lambda name: furnish(tmp_path / name)


@pytest.fixture
def home(new_home: Callable[[str], Home], monkeypatch: pytest.MonkeyPatch) -> Home:
    """A store of this test's own, which MMCOA_HOME names."""
    monkeypatch.delenv("MMCOA_DATABASE_URL", raising=False)
    made = new_home("home")
    monkeypatch.setenv("MMCOA_HOME", str(made.root))
    return made


@pytest.fixture
def at_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[type[BaseHTTPRequestHandler]], None]]:
    """Has huggingface_hub ask a server on this machine, whose requests the given class answers."""
    with ExitStack() as running:

        def serve(handler: type[BaseHTTPRequestHandler]) -> None:
            server = running.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
            endpoint = f"http://127.0.0.1:{server.server_address[1]}"
            monkeypatch.setattr(constants, "ENDPOINT", endpoint)
            template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
            monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
            monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
            monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            running.callback(thread.join)
            running.callback(server.shutdown)

        yield serve


def home_at(root: Path) -> Home:
    return Home(root, f"sqlite:///{root / 'index.db'}")


def _save_random_mlm(folder: Path) -> None:
    """A BERT of random weights, sure enough of its guesses that the text attack finds candidates."""
    from transformers import BertConfig, BertForMaskedLM

    quiet_transformers()
    torch.manual_seed(0)
    tokenizer = embedded._tokenizer(embedded.write_sentences())
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, initializer_range=1.0,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class Typed:
    """`mmcoa` with some words as a person types it: another process, with a store of its own."""

    def __init__(self, process: Started | subprocess.Popen[str]) -> None:
        self.process = process

    def end(self) -> tuple[int | None, str, str]:
        """Its exit code, what it wrote to stdout and what to stderr, when it has ended."""
        out, err = self.process.communicate(timeout=300)
        return self.process.returncode, out, err

    def until(self, happened: Callable[[], object]) -> None:
        """Wait for something that the process does; fails the test when it ends without."""
        while not happened():
            try:
                self.process.wait(timeout=0.005)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"it ended before: {self.process.communicate()[1]}")


@pytest.fixture
def typed(server: Callable[[], Server]) -> Iterator[Callable[..., Typed]]:
    """Starts `mmcoa` on a store: `typed(home, "train", "--shots", "5", COLUMNS="200")`, as a new program where that is
    asked for."""
    started: list[Typed] = []

    def start(home: Home, *words: str, new: bool = False, **more: str) -> Typed:
        env, folder = variables(MMCOA_HOME=str(home.root), **more), home.root.parent
        process: Started | subprocess.Popen[str]
        if new:
            process = subprocess.Popen(
                [sys.executable, "-m", "mmcoa_cli", *words], env=env, cwd=folder, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=as_in_a_terminal,
            )  # fmt: skip
        else:
            process = Started(server(), words, env, folder)
        started.append(Typed(process))
        return started[-1]

    yield start
    for one in started:
        with suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.communicate()
