"""Going on with a run, whatever became of its epochs: the weights are those of a run that nothing ever happened to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from accelerate import Accelerator
from torch import Tensor

from mmcoa_cli.jobs import training_steps
from mmcoa_cli.jobs.continuing import spec_to_go_on_with
from mmcoa_cli.jobs.job import command_of_training
from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_plan import make_plan
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.models.epochs import epochs_in, last_epoch, number_of
from mmcoa_cli.models.load import load_subject
from mmcoa_cli.models.runs import run_of
from mmcoa_cli.settings import Home
from store.checkpoints import copy_checkpoint, load_spec, load_tensors, save_checkpoint
from store.errors import UserError
from store.index import Index

SPEC = train_spec(
    "tecoa", dataset="digits", shots="1", model="vit", mlm="mlm",
    epochs=3, batch_size=5, lr=1e-3, eps="8/255", steps=1,
)  # fmt: skip

FILES = ("model.safetensors", "state.safetensors", "spec.json", "open_clip_config.json", "source.json")


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def weights(home: Home, run: str, epochs: int = 3) -> dict[str, Tensor]:
    last = last_epoch(home.checkpoints / run, epochs)
    assert last is not None
    return load_tensors(last)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def remove(path: Path) -> None:
    path.unlink()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    replaced(path, bytes(content))


def cut(path: Path) -> None:
    replaced(path, path.read_bytes()[:-7])


def replaced(path: Path, content: bytes) -> None:
    """Write a new file, since epochs of several runs may share one."""
    path.unlink()
    path.write_bytes(content)


def files_of(home: Home, run: str) -> list[Path]:
    return [epoch / name for epoch in epochs_in(home.checkpoints / run) for name in FILES if (epoch / name).exists()]


def test_whatever_is_damaged_the_weights_are_the_same(home: Home, accelerator: Accelerator) -> None:
    """Each file of each epoch, in one of three ways: a file has each of them in one of the epochs."""
    index, run = Index(home.database_url), train(SPEC, home, accelerator).id
    expected, ways = weights(home, run), (remove, flip, cut)
    for path in files_of(home, run):
        if not path.exists():  # a state, which the repair of another epoch dropped
            continue
        ways[(FILES.index(path.name) + number_of(path.parent)) % 3](path)
        assert train(SPEC, home, accelerator).id == run, path
        assert same(weights(home, run), expected), path
        assert load_subject(run_of(run, home, index), home).tensors()["visual.proj"].equal(expected["visual.proj"])


@pytest.mark.parametrize("gone", ["epoch-003", "epoch-001", "epoch-00[23]"])
def test_an_epoch_without_its_optimizer_is_not_gone_on_from(home: Home, accelerator: Accelerator, gone: str) -> None:
    run = train(SPEC, home, accelerator)
    expected = weights(home, run.id)
    for folder in (home.checkpoints / run.id).glob(gone):
        shutil.rmtree(folder)
    Index(home.database_url).save_run(replace(run, status="running", finished_at=None))
    assert train(SPEC, home, accelerator).id == run.id
    assert same(weights(home, run.id), expected)


def test_a_run_is_complete_with_its_last_epoch_only(home: Home, accelerator: Accelerator) -> None:
    index, run = Index(home.database_url), train(SPEC, home, accelerator).id
    shutil.rmtree(home.checkpoints / run / "epoch-003")
    with pytest.raises(UserError, match="is not finished") as raised:
        run_of(run, home, index)
    assert raised.value.hint == f"mmcoa train --resume {run}"


def test_an_altered_configuration_is_not_evaluated(home: Home, accelerator: Accelerator) -> None:
    run = train(SPEC, home, accelerator).id
    path = home.checkpoints / run / "epoch-003" / "open_clip_config.json"
    replaced(path, path.read_bytes().replace(b"0.48", b"0.47"))
    with pytest.raises(UserError, match=r"is damaged: .*open_clip_config\.json"):
        run_of(run, home, Index(home.database_url))


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("after", [1, 2])
def test_a_run_that_keeps_one_epoch_goes_on_from_it(
    new_home: Callable[[str], Home], accelerator: Accelerator, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Complete, it has the weights of its last epoch and nothing else; more of them are the same, trained again."""
    home, other = new_home("home"), new_home("other")
    drop = training_steps.drop_earlier

    def interrupted(folder: Path, **options: int) -> None:
        drop(folder, **options)
        if len(Index(home.database_url).epochs(folder.name)) == after:
            raise Interrupted

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(training_steps, "drop_earlier", interrupted)
        train(SPEC, home, accelerator, keep=1)
    (begun,), long_ago = Index(home.database_url).runs(), "2026-01-01T00:00:00+00:00"
    Index(home.database_url).save_run(replace(begun, created_at=long_ago))
    run = begun.id
    assert [path.name for path in epochs_in(home.checkpoints / run)] == [f"epoch-00{after}"]
    finished = train(SPEC, home, accelerator, keep=1)
    assert (finished.id, finished.created_at) == (run, long_ago)  # it goes on, and has begun when it began
    expected = weights(other, train(SPEC, other, accelerator).id)
    (last,) = epochs_in(home.checkpoints / run)
    assert last.name == "epoch-003" and not (last / "state.safetensors").exists()
    assert same(weights(home, run), expected)
    assert train(SPEC, home, accelerator, keep=1).finished_at == Index(home.database_url).runs()[0].finished_at
    train(SPEC, home, accelerator, keep=2)
    assert [path.name for path in epochs_in(home.checkpoints / run)] == ["epoch-002", "epoch-003"]
    assert same(weights(home, run), expected)


def test_damaged_later_epochs_are_no_reason_to_drop_the_one_to_go_on_from(
    home: Home, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(SPEC, home, accelerator, keep=2).id
    expected, drop = weights(home, run), training_steps.drop_earlier
    cut(home.checkpoints / run / "epoch-003" / "model.safetensors")  # and no other has a state: all begins again

    def interrupted(folder: Path, **options: int) -> None:
        drop(folder, **options)
        raise Interrupted

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(training_steps, "drop_earlier", interrupted)
        train(SPEC, home, accelerator, keep=2)
    assert (home.checkpoints / run / "epoch-001" / "state.safetensors").exists()
    train(SPEC, home, accelerator, keep=2)
    assert [path.name for path in epochs_in(home.checkpoints / run)] == ["epoch-002", "epoch-003"]
    assert same(weights(home, run), expected)


def test_more_epochs_are_those_of_a_longer_run(new_home: Callable[[str], Home], accelerator: Accelerator) -> None:
    one, other = new_home("one"), new_home("other")
    short = train(SPEC.changed(epochs=2), one, accelerator).id
    written = (one.checkpoints / short / "epoch-001" / "model.safetensors").stat()
    run, spec = spec_to_go_on_with(short[:-2], one, epochs=4)
    long = train(spec, one, accelerator, resumed=run)
    assert run == short and long.id != short and spec.epochs == 4
    through = train(SPEC.changed(epochs=4), other, accelerator)
    assert through.id == long.id and same(weights(one, long.id, 4), weights(other, long.id, 4))
    assert (one.checkpoints / short / "epoch-001" / "model.safetensors").stat().st_mtime == written.st_mtime
    taken = load_spec(one.checkpoints / long.id / "epoch-002")
    assert (taken["run"], taken["epoch"], taken["epochs"]) == (long.id, 2, 4)
    assert same(weights(one, short, 2), load_tensors(one.checkpoints / long.id / "epoch-002"))
    index = Index(one.database_url)
    assert [epoch.epoch for epoch in index.epochs(long.id)] == [1, 2, 3, 4]
    assert [epoch.seconds for epoch in index.epochs(long.id)[:2]] == [epoch.seconds for epoch in index.epochs(short)]


def test_what_is_taken_over_of_a_shorter_run_may_be_interrupted(
    home: Home, accelerator: Accelerator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two epochs the first, which has no state, was there when it ended."""
    short, index = train(SPEC.changed(epochs=2), home, accelerator).id, Index(home.database_url)
    run, spec = spec_to_go_on_with(short, home, epochs=3)
    plan = make_plan(spec, home)
    begun = {"run": plan.run, **spec.document()}
    copy_checkpoint(home.checkpoints / short / "epoch-001", home.checkpoints / plan.run / "epoch-001", spec=begun)
    assert train(spec, home, accelerator, resumed=run).id == plan.run
    assert f"going on after epoch 2 of run {short}" in capsys.readouterr().err
    assert [epoch.seconds for epoch in index.epochs(plan.run)[:2]] == [epoch.seconds for epoch in index.epochs(short)]
    assert same(weights(home, short, 2), load_tensors(home.checkpoints / plan.run / "epoch-002"))


def test_a_run_does_not_go_on_with_another_model(home: Home, accelerator: Accelerator) -> None:
    run = train(SPEC, home, accelerator)
    tensors = load_tensors(home.clips / "vit")
    tensors["visual.proj"] += 1e-3
    files = {name: (home.clips / "vit" / name).read_text() for name in ("open_clip_config.json", "source.json")}
    save_checkpoint(home.clips / "vit", tensors=tensors, spec={}, files=files)
    assert train(SPEC, home, accelerator, resumed=run.id) == run  # it is finished, and there
    with pytest.raises(UserError, match=f"run {run.id} cannot go on: the model changed since it began"):
        train(SPEC.changed(epochs=5), home, accelerator, resumed=run.id)
    assert [known.id for known in Index(home.database_url).runs()] == [run.id]


def test_fewer_epochs_are_another_run(home: Home, accelerator: Accelerator) -> None:
    run = train(SPEC, home, accelerator).id
    with pytest.raises(UserError, match=f"run {run} has 3 epochs: it cannot go on to 2") as raised:
        spec_to_go_on_with(run, home, epochs=2)
    assert raised.value.hint == command_of_training(SPEC.changed(epochs=2))
