"""The house is open: an attack of another package is one file. It is run, stored, told and listed as the others are."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmcoa_cli.datasets.library import open_dataset
from mmcoa_cli.datasets.pixels import load_pixels
from mmcoa_cli.models.load import load_model
from mmcoa_cli.settings import Home
from store.examples import ExampleSet
from store.index import Index

ROOT, HERE = Path(__file__).parents[4], Path(__file__).parent
PLUGIN = {"MMCOA_PLUGINS": "both_encoders", "PYTHONPATH": f"{ROOT}:{HERE}"}
OPTIONS = ("--eps", "16/255", "--alpha", "4/255", "--steps", "5", "-o", "text_weight=0.5", "--limit", "40")
EVALUATE = ("evaluate", "--checkpoint", "vit", "--dataset", "digits", "--mlm", "mlm", *OPTIONS)


def done(process: Any) -> str:
    code, out, err = process.end()
    assert code == 0, err
    return str(out)


def test_it_is_run_stored_told_and_listed(home: Home, typed: Callable[..., Any]) -> None:
    first = done(typed(home, *EVALUATE, "--attack", "clean,both-encoders", "--json", **PLUGIN))
    clean, attacked = json.loads(first)["rows"]
    assert (attacked["attack"], attacked["metric"], attacked["n"]) == ("both-encoders", "robust_accuracy", 40)
    assert (attacked["eps"], attacked["steps"], attacked["text_weight"]) == ("16/255", 5, 0.5)
    assert attacked["value"] < clean["value"] and attacked["attack_success_rate"] is not None
    again = json.loads(done(typed(home, *EVALUATE, "--attack", "clean,both-encoders", "--json", **PLUGIN)))
    assert again["rows"] == [clean, attacked] and "took" not in again  # all of it was there

    found = [result for _, result in Index(home.database_url).results(attacks=["both-encoders"])]
    assert set(found[0].threat) == {"both-encoders", "text"}
    assert away_from_both(home, found[0].examples)

    table = done(typed(home, "report", **PLUGIN))
    assert "both-encoders" in table and "eps 16/255" in table
    (row,) = [r for r in csv.DictReader(io.StringIO(done(typed(home, "report", "--format", "csv", **PLUGIN))))
              if r["attack"] == "both-encoders"]  # fmt: skip
    assert float(row["text_weight"]) == 0.5
    listed = json.loads(done(typed(home, "list", "attacks", "--json", **PLUGIN)))
    assert "both-encoders" in json.dumps(listed) and "text_weight" in json.dumps(listed)


def away_from_both(home: Home, key: str) -> bool:
    """Whether stored images lie in the ball, and are less like their clean ones and their adversarial prompts than the
    clean ones are, on average: what the attack ascends, computed from the file."""
    clip, dataset = load_model("vit", home), open_dataset("digits", home)
    file = next(home.examples.glob(f"{key}.h5"))
    examples = ExampleSet(home.examples, spec_of(file), n=40, block_size=128)
    pixels = load_pixels(dataset, "test", examples.columns("index"))
    clean = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    adv = torch.from_numpy(examples.images(0, 40, pixels))
    assert 0 < (adv - clean).abs().max() <= 16 / 255 + 1e-6
    prompts = clip.embed_texts(examples.texts("adversarial_prompts"))[examples.columns("label").astype(np.int64)]
    with torch.no_grad():
        before, after = clip.encode_images(clean), clip.encode_images(adv)
    rises = ((before - after) * (before + 0.5 * prompts)).sum(dim=1)
    return bool((rises > 0).all())


def spec_of(file: Path) -> Any:
    import h5py

    with h5py.File(file) as opened:
        return json.loads(opened.attrs["spec"])


def test_without_it_its_results_are_still_told(home: Home, typed: Callable[..., Any]) -> None:
    done(typed(home, *EVALUATE, "--attack", "clean,both-encoders", **PLUGIN))
    assert "both-encoders" in done(typed(home, "report", "--format", "csv"))
    code, _, err = typed(home, *EVALUATE, "--attack", "both-encoders").end()
    assert code != 0 and "both-encoders" in err


def test_a_plugin_that_is_not_there(home: Home, typed: Callable[..., Any]) -> None:
    code, out, err = typed(home, "list", "attacks", MMCOA_PLUGINS="nowhere_to_be_found").end()
    assert (code, out) == (1, "")
    assert err.count("\n") == 2 and "the plugin nowhere_to_be_found cannot be imported" in err
