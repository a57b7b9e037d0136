"""The house is open: a defence at test time is one file, and attacked as a checkpoint is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmcoa_cli.datasets.library import open_dataset
from mmcoa_cli.datasets.pixels import load_pixels
from mmcoa_cli.datasets.prompts import class_prompts
from mmcoa_cli.models.load import load_model
from mmcoa_cli.settings import Home

ROOT, HERE = Path(__file__).parents[4], Path(__file__).parent
PLUGIN = {"MMCOA_PLUGINS": "counter_attack", "PYTHONPATH": f"{ROOT}:{HERE}"}
TEST = ("--dataset", "digits", "--attack", "clean,image", "--eps", "16/255", "--alpha", "4/255", "--steps", "4",
        "--limit", "40", "--json")  # fmt: skip


def test_it_is_tested_as_a_run_of_its_own(home: Home, typed: Callable[..., Any]) -> None:
    def rows(*words: str) -> list[dict[str, Any]]:
        code, out, err = typed(home, *words, **PLUGIN).end()
        assert code == 0, err
        return list(json.loads(out)["rows"])

    code, out, err = typed(home, "train", "--method", "counter", "--model", "vit", "--no-evaluate", **PLUGIN).end()
    assert code == 0, err
    assert out.splitlines()[-1] == "run counter-vit"
    plain, defended = (
        rows("evaluate", "--checkpoint", "vit", *TEST),
        rows("evaluate", "--checkpoint", "counter-vit", *TEST),
    )
    assert [row["method"] for row in defended] == ["counter", "counter"]
    assert {row["weights"] for row in plain}.isdisjoint(row["weights"] for row in defended)
    assert defended[0]["value"] == accuracy_by_hand(home)
    # what is attacked is the model behind the counter-attack: the images of the two are different
    assert len(list(home.examples.glob("*.h5"))) == 4

    code, out, _ = typed(home, "report", **PLUGIN).end()
    assert code == 0 and "counter, zero-shot" in out and "clip, zero-shot" in out


def accuracy_by_hand(home: Home) -> float:
    """The clean accuracy behind two steps away from the own embedding, written anew."""
    clip, dataset = load_model("vit", home), open_dataset("digits", home)
    labels = dataset.labels("test")
    from mmcoa_cli.datasets.sampling import balanced_subset

    chosen = balanced_subset(labels, 40, seed=0)
    x = torch.from_numpy(load_pixels(dataset, "test", chosen)).permute(0, 3, 1, 2).float() / 255
    own = clip.encode_images(x).detach()
    d = torch.full_like(x, 0.025)
    for _ in range(2):
        d = d.detach().requires_grad_()
        (clip.encode_images(x + d) - own).pow(2).sum().backward()
        assert d.grad is not None
        d = torch.clamp(d.detach() + 0.05 * torch.sign(d.grad), -0.05, 0.05)
    texts = clip.embed_texts(class_prompts(dataset.info.class_names, dataset.info.template))
    with torch.no_grad():
        found = (clip.encode_images((x + d).clamp(0, 1)) @ texts.T).argmax(dim=1).numpy()
    return float(np.mean(found == labels[chosen]))
