"""Weights divided among processes (FSDP2): the steps, checkpoints and resumed runs are those of one process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from ready import Server, Started
from torch import nn
from torch.distributed import TCPStore

import store
from mmcoa_cli.jobs import launch
from mmcoa_cli.jobs.evaluation_spec import evaluation_after
from mmcoa_cli.jobs.fsdp import blocks_of, require_divisible, taken_over
from mmcoa_cli.jobs.job import Conduct, Job, Start
from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.models.epochs import clip_files, epochs_in
from mmcoa_cli.models.new_clip import new_clip
from mmcoa_cli.models.wrapper_record import checkpoint_digest
from mmcoa_cli.settings import Home
from store.checkpoints import load_state, load_tensors, save_checkpoint
from store.errors import UserError

TOWER = {"layers": 2, "width": 16}
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 8, "head_width": 8, "patch_size": 4, **TOWER},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "heads": 2, **TOWER},
}
OPTIONS: dict[str, Any] = {
    "dataset": "digits", "shots": "2", "model": "deep", "mlm": "mlm", "epochs": 2, "batch_size": 7, "eps": "8/255",
    "alpha": "4/255", "steps": 2,
}  # fmt: skip
SGD = {"optimizer": "sgd", "lr": 2e-2, "momentum": 0.9}
CASES: list[tuple[dict[str, Any], Conduct]] = [  # 20 images in batches of 7: slices of 4 and 3, and of 3 and 3
    ({"method": "mmcoa", **SGD}, Conduct(divided=True)),
    ({"method": "mmcoa", **SGD, "tune": "image"}, Conduct(micro_batch=3, divided=True)),
    ({"method": "tecoa", **SGD, "compat": "release"}, Conduct(divided=True)),
    ({"method": "tecoa", "lr": 1e-3}, Conduct(divided=True)),  # Adam
]
WORKER = """
import json, sys
from accelerate import Accelerator
from mmcoa_cli.settings import home
from mmcoa_cli.jobs.job import Conduct
from mmcoa_cli.jobs.training_spec import TrainSpec
from mmcoa_cli.jobs.training import train

accelerator = Accelerator(cpu=True)
for spec, conduct, resumed in json.loads(sys.argv[1]):
    train(TrainSpec(**spec), home(), accelerator, conduct=Conduct(**conduct), resumed=resumed)
accelerator.end_training()
"""


FILE = """\
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
fsdp_config:
  fsdp_version: {version}
  fsdp_reshard_after_forward: true
machine_rank: 0
mixed_precision: 'no'
num_machines: 1
num_processes: 2
use_cpu: true
"""


@pytest.fixture
def deep(new_home: Callable[[str], Home]) -> Callable[[str], Home]:
    """Makes a store that has a CLIP of two layers a tower."""

    def make(name: str) -> Home:
        home, clip = new_home(name), new_clip(CONFIG, name="deep", seed=0)
        save_checkpoint(home.clips / "deep", tensors=clip.tensors(), spec={}, files=clip_files(clip, source="random"))
        return home

    return make


def in_two_processes(work: list[Any], home: Home, server: Server, script: Path) -> None:
    script.write_text(WORKER, encoding="utf8")
    memory = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    together = {
        **os.environ, "PYTHONPATH": str(Path(store.__file__).parents[1]), "MMCOA_HOME": str(home.root),
        "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(memory.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
    }  # fmt: skip
    ranks = [{**together, "RANK": rank, "LOCAL_RANK": rank} for rank in "01"]
    both = [Started(server, [json.dumps(work)], variables, script.parent, script=str(script)) for variables in ranks]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said


def last(run: str, home: Home) -> Path:
    return epochs_in(home.checkpoints / run)[-1]


def furthest(one: dict[str, Any], other: dict[str, Any]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def share(one: dict[str, Any], other: dict[str, Any], *, beyond: float) -> float:
    """Of the weights that are further apart than that."""
    far = sum(int(((one[name] - other[name]).abs() > beyond).sum()) for name in one)
    return far / sum(tensor.numel() for tensor in one.values())


@pytest.mark.slow
def test_divided_weights_are_trained_as_those_of_one_process(
    deep: Callable[[str], Home], server: Callable[[], Server], tmp_path: Path
) -> None:
    """Also gone on with. Adam divides by the size of a gradient, and the biases of keys have none but noise."""
    one, two = deep("one"), deep("two")
    accelerator = Accelerator(cpu=True)
    specs = [train_spec(**{**OPTIONS, **changes}) for changes, _ in CASES]
    work: list[Any] = [(asdict(spec), asdict(conduct), "") for spec, (_, conduct) in zip(specs, CASES, strict=True)]
    longer, begun = specs[0].changed(epochs=3), train(specs[0], one, accelerator).id
    work.append((asdict(longer), asdict(CASES[0][1]), begun))
    in_two_processes(work, two, server(), tmp_path / "worker.py")
    for spec in (*specs, longer):
        run = train(spec, one, accelerator, resumed=begun if spec == longer else "").id
        weights = [load_tensors(last(run, home)) for home in (one, two)]
        assert furthest(load_tensors(one.clips / "deep"), weights[0]) > 1e-3
        if spec.optimizer == "adam":
            assert share(*weights, beyond=spec.lr / 20) < 1e-3
        else:
            assert furthest(*weights) < 1e-5, spec
        assert furthest(*(load_state(last(run, home)) or {} for home in (one, two))) < 1e-4  # of up to 1 in size
    run = train(longer, two, accelerator)
    assert run.weights == checkpoint_digest(last(run.id, two))


@pytest.mark.slow
def test_a_configuration_that_asks_for_it(
    deep: Callable[[str], Home], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `accelerate config` writes it, through `accelerate launch`; tested while it is trained, and afterwards."""
    one, two = deep("one"), deep("two")
    spec = train_spec("tecoa", **OPTIONS, **SGD)
    test = evaluation_after(spec, limit=20, steps=2)
    file = tmp_path / "fsdp.yaml"
    file.write_text(FILE.format(version=2), encoding="utf8")
    monkeypatch.setenv("MMCOA_HOME", str(two.root))
    job = Job(spec, test, conduct=Conduct(evaluate_every=1))
    outcome = launch.run(job, Start(processes=2, accelerate_config=file))
    run = train(spec, one, Accelerator(cpu=True)).id
    assert outcome.run == run and len(outcome.evaluations) == 4
    assert furthest(*(load_tensors(last(run, home)) for home in (one, two))) < 1e-5


def test_the_first_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(UserError, match="FSDP1") as raised:
        taken_over()
    assert "fsdp_version: 2" in raised.value.hint
    assert not taken_over()  # Accelerate is not told of it any more


@pytest.mark.parametrize(
    ("method", "options", "hint"),
    [("vp", {}, "use_fsdp: false"), ("tecoa", {"stop_when_fooled": True}, "stop_when_fooled")],
)
def test_what_cannot_be_divided_is_refused(method: str, options: dict[str, Any], hint: str) -> None:
    with pytest.raises(UserError) as raised:
        require_divisible(train_spec(method, **options))
    assert hint in raised.value.hint


def test_blocks_are_what_a_tower_has_many_of() -> None:
    clip = new_clip(CONFIG, name="deep", seed=0)
    towers = [clip.model.visual.transformer.resblocks, clip.model.transformer.resblocks]
    assert {*blocks_of(clip)} == {block for tower in towers for block in tower}
    resnet = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    assert [*blocks_of(nn.ModuleDict({"layer": resnet, "other": nn.Linear(2, 2)}))] == [*resnet]
