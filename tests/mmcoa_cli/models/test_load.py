"""What `--checkpoint` names."""

from __future__ import annotations

from dataclasses import replace

import pytest
from accelerate import Accelerator

from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.models.epochs import path_of
from mmcoa_cli.models.load import load_subject
from mmcoa_cli.models.runs import run_of, zero_shot_run
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
    folder = path_of(home.checkpoints / run.id, 2)
    for checkpoint in (run.id, run.id[:-3], "ft"):
        assert run_of(checkpoint, home, index) == run
        clip = load_subject(run, home)
        assert (clip.name, clip.origin.kind) == ("vit", "stand-in")
        assert clip.tensors()["visual.proj"].equal(load_tensors(folder)["visual.proj"])


def test_a_model_is_zero_shot(home: Home, index: Index) -> None:
    run = run_of("vit", home, index)
    clip = load_subject(run, home)
    assert (run.id, run.kind, run.method, run.model, run.source, run.shots) == (
        "clip-vit", "zero-shot", "clip", "vit", "", "0",
    )  # fmt: skip
    assert run.model_origin == "stand-in" and run.status == "complete"
    assert clip.tensors()["visual.proj"].equal(load_tensors(home.clips / "vit")["visual.proj"])
    assert index.runs() == [run]
    assert run_of("clip-vit", home, index) == zero_shot_run("vit", home, index) == run


def test_a_beginning_of_two_runs(home: Home, index: Index) -> None:
    runs = [train(SPEC.changed(seed=seed), home, Accelerator(cpu=True)) for seed in (0, 1)]
    with pytest.raises(UserError, match="2 runs begin with 'ft-standard'") as raised:
        run_of("ft-standard", home, index)
    assert all(run.id in raised.value.hint for run in runs)


def test_a_run_without_weights(home: Home, index: Index) -> None:
    run = train(SPEC, home, Accelerator(cpu=True))
    index.save_run(replace(run, id="ft-lost"))
    with pytest.raises(UserError, match="run ft-lost is not finished") as raised:
        run_of("ft-lost", home, index)
    assert raised.value.hint == "mmcoa train --resume ft-lost"


def test_a_name_of_nothing(home: Home, index: Index) -> None:
    with pytest.raises(UserError, match="no run or model called 'x'"):
        run_of("x", home, index)
    assert index.runs() == []
