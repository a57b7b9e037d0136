"""Commands on data whose classes a model cannot tell apart or see whole: refused by name, with nothing computed."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from mmcoa_cli.settings import Home
from store.dataset_writing import DatasetWriter
from store.index import Index

from ..conftest import TINY_VIT
from ..test_app import Ended, mmcoa, two_lines

__all__ = ["mmcoa"]  # a fixture

LONG = "this is a very long caption that somebody wrote under a picture in an old album and that shows a {}"
DATA = {  # class names, template, and what the error names
    "same": (("cat", "Caf\u00e9", "Cafe\u0301", "AT&T"), "a photo of a {}", "Caf\\xe9"),
    "entity": (("cat", "AT&T", "AT&amp;T"), "a photo of a {}", '"AT&T" and "AT&amp;T"'),
    "long": (("cat", "dog", "frog", "ship"), LONG, '"cat", "dog" and 2 more'),
    "name": (
        ("cat", "dog", "maple tree by the river in the garden of the old house on a green hill"),
        "a {}",
        '"maple tree by',
    ),
}
COMMANDS = {
    "evaluate": "evaluate --checkpoint vit --dataset NAME --attack clean",
    "all attacks": "evaluate --checkpoint vit --dataset NAME --mlm mlm --steps 1",
    "attack": "attack image --checkpoint vit --dataset NAME --steps 1",
    "train": "train --method tecoa --dataset NAME --model vit --mlm mlm --epochs 1",
    "pretrain": "pretrain --config arch.json --dataset NAME --name another",
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_refused_by_name(mmcoa: Callable[..., Ended], home: Home, command: str, name: str) -> None:
    names, template, said = DATA[name]
    writer = DatasetWriter(
        home.datasets / f"{name}.h5", name=name, class_names=names, pixel_size=8, resize=None, template=template,
        source="", image_size=8,
    )  # fmt: skip
    with writer:
        for split in ("train", "test"):
            for label in range(len(names)):
                writer.add(split, np.full((8, 8, 3), 40 * label, np.uint8), label)
    (home.root / "arch.json").write_text(json.dumps(TINY_VIT), encoding="utf8")
    if "pretrain" in command and name == "long":
        pytest.skip("pretraining has templates of its own")
    words = command.replace("arch.json", str(home.root / "arch.json")).replace("NAME", name).split()
    error, _ = two_lines(mmcoa(*words))
    assert said in error
    assert not any(home.examples.glob("*")) and not any(home.checkpoints.glob("*/*"))
    assert not (home.clips / "another").exists()
    if home.database_url.startswith("sqlite"):
        assert not Index(home.database_url).results()


WEAK = "--norm l2 --eps 4 --alpha 1/255"


@pytest.mark.parametrize(
    "words,times",
    [(f"evaluate --checkpoint vit --dataset digits --attack image,multimodal --mlm mlm --limit 10 --steps 2 {WEAK}", 1),
     ("evaluate --checkpoint vit --dataset digits --attack image --limit 10 --steps 2 --norm l2 --eps 4", 0),
     ("train --method tecoa --dataset digits --model vit --shots 1 --epochs 1 --steps 1 --eps 8/255 --no-evaluate", 1)],
)  # fmt: skip
def test_a_weak_attack_is_named_once(mmcoa: Callable[..., Ended], words: str, times: int) -> None:
    code, out, err = mmcoa(*words.split())
    assert code == 0, err
    assert err.count("does not reach eps") == times
    assert ("(warning: steps x alpha" in out) == (times == 1 and words.startswith("evaluate"))
