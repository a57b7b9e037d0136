"""What `--checkpoint` names."""

from __future__ import annotations

from dataclasses import replace

import pytest
from accelerate import Accelerator

from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.models.subjects import final_weights, load_subject, zero_shot_run
from mmcoa_cli.settings import Home
from store.checkpoints import load_tensors
from store.errors import UserError
from store.index import Index

SPEC = train_spec("ft-standard", dataset="digits", shots="1", model="vit", mlm="mlm", epochs=2, batch_size=5, lr=1e-3)


@pytest.fixture
def index(home: Home) -> Index:
    return Index(home.database_url)


def test_a_run_by_its_id_or_the_beginning_of_it(home: Home, index: Index) -> None:
    run = train(SPEC, home, Accelerator(cpu=True))
    folder = final_weights(run, home)
    assert folder.name == "epoch-002"
    for checkpoint in (run.id, run.id[:-3], "ft"):
        clip, found = load_subject(checkpoint, home, index)
        assert found == run
        assert (clip.name, clip.origin.kind) == ("vit", "stand-in")
        assert clip.tensors()["visual.proj"].equal(load_tensors(folder)["visual.proj"])


def test_a_model_is_zero_shot(home: Home, index: Index) -> None:
    clip, run = load_subject("vit", home, index)
    assert (run.id, run.kind, run.method, run.model, run.source, run.shots) == (
        "clip-vit", "zero-shot", "clip", "vit", "", "0",
    )  # fmt: skip
    assert run.model_origin == "stand-in" and run.status == "complete"
    assert clip.tensors()["visual.proj"].equal(load_tensors(home.clips / "vit")["visual.proj"])
    assert index.runs() == [run]
    assert load_subject("clip-vit", home, index)[1] == zero_shot_run("vit", home, index) == run


def test_a_beginning_of_two_runs(home: Home, index: Index) -> None:
    runs = [train(SPEC.changed(seed=seed), home, Accelerator(cpu=True)) for seed in (0, 1)]
    with pytest.raises(UserError, match="2 runs begin with 'ft-standard'") as raised:
        load_subject("ft-standard", home, index)
    assert all(run.id in raised.value.hint for run in runs)


def test_a_run_without_weights(home: Home, index: Index) -> None:
    run = train(SPEC, home, Accelerator(cpu=True))
    index.save_run(replace(run, id="ft-lost"))
    with pytest.raises(UserError, match="run ft-lost is not finished") as raised:
        load_subject("ft-lost", home, index)
    assert raised.value.hint == "mmcoa train --resume ft-lost"


def test_a_name_of_nothing(home: Home, index: Index) -> None:
    with pytest.raises(UserError, match="no run or model called 'x'"):
        load_subject("x", home, index)
    assert index.runs() == []
