"""Two processes compute one batch: each method's steps, those of plugins too, are those of one process."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from ready import Server, Started
from torch.distributed import TCPStore

import store
from mmcoa_cli.jobs.job import command_of_training
from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_spec import TrainSpec, train_spec
from mmcoa_cli.models.epochs import epochs_in
from mmcoa_cli.settings import Home
from store.checkpoints import load_tensors

PLUGIN = """
import border
import pmg_aft

from mmcoa_cli import catalog, defences
from mmcoa_cli.models.wrappers import WRAPPERS

WRAPPERS["border"] = border.BORDER
for module in (border, pmg_aft):
    catalog.methods().update(catalog.methods_in(module.ROW))
defences.register("bordered", "border")
defences.register("pmg_aft", "pmg_aft")
"""
WORKER = """
import json, sys
from accelerate import Accelerator
from mmcoa_cli import plugins
from mmcoa_cli.settings import home
from mmcoa_cli.jobs.job import Conduct
from mmcoa_cli.jobs.training_spec import TrainSpec
from mmcoa_cli.jobs.training import train

plugins.load()
accelerator = Accelerator(cpu=True)
assert accelerator.num_processes == 2
for spec, most in json.loads(sys.argv[1]):
    train(TrainSpec(**spec), home(), accelerator, conduct=Conduct(micro_batch=most))
accelerator.end_training()
"""
OPTIONS: dict[str, Any] = {
    "dataset": "digits", "shots": "2", "model": "vit", "mlm": "mlm", "epochs": 1, "batch_size": 8, "lr": 1e-3,
    "eps": "8/255", "steps": 2,
}  # fmt: skip
CASES: list[tuple[dict[str, Any], int]] = [  # what a run is like, and how many of its 20 images the last batch has
    ({"method": "mmcoa", "alpha": "4/255"}, 4),
    ({"method": "mmcoa", "alpha": "4/255", "contrast": "class", "batch_size": 19}, 1),
    ({"method": "mmcoa", "alpha": "4/255", "batch_size": 17, "compat": "release"}, 3),
    ({"method": "tecoa", "alpha": "4/255", "batch_size": 19, "model": "resnet", "lr": 1e-4}, 1),
    ({"method": "tecoa", "alpha": "4/255", "batch_size": 17, "compat": "release"}, 3),
    ({"method": "ft-standard", "batch_size": 17}, 3),
    ({"method": "mmcoa", "alpha": "4/255", "tune": "image"}, 4),
    ({"method": "ft-standard", "tune": "text"}, 4),
    ({"method": "pmg-aft", "batch_size": 17, "lr": 1e-2}, 3),
    ({"method": "pmg-aft", "batch_size": 17, "lr": 1e-2, "model": "resnet"}, 3),  # whose BatchNorm has statistics
    ({"method": "vp", "batch_size": 17, "lr": 1.0, "prompt_tokens": 2}, 3),
    ({"method": "advpt", "batch_size": 17, "lr": 1.0}, 3),
]
IN_PIECES = {0: 3, 3: 4, 4: 3, 8: 5}  # of which case so many images are in a process's memory at once
MOVES_LITTLE = ("pmg-aft", "vp", "advpt")  # by stochastic gradient descent: first steps are small beside its rate


@pytest.fixture
def variables(plugins: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Where the plugins are found, set for processes that this one starts."""
    (tmp_path / "both.py").write_text(PLUGIN, encoding="utf8")
    path = [str(tmp_path), str(Path(__file__).parent / "plugins"), str(Path(store.__file__).parents[1])]
    found = {"PYTHONPATH": os.pathsep.join(path), "MMCOA_PLUGINS": "both"}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MMCOA_DATABASE_URL", raising=False)
    return found


@pytest.mark.slow
def test_two_processes_train_the_weights_of_one(
    new_home: Callable[[str], Home], variables: dict[str, str], server: Callable[[], Server], tmp_path: Path
) -> None:
    """Adam divides by the size of a gradient, and so makes the noise of one that is next to nothing part of a step."""
    one, two = new_home("one"), new_home("two")
    specs = [train_spec(**{**OPTIONS, **changes}) for changes, _ in CASES]
    in_two_processes(specs, two, variables, server(), tmp_path / "worker.py")
    for spec, (_, last_batch) in zip(specs, CASES, strict=True):
        run = train(spec, one, Accelerator(cpu=True)).id
        assert 20 % spec.batch_size == last_batch
        if spec.method not in MOVES_LITTLE:
            before = load_tensors(one.clips / spec.model)
            assert difference(before, load_tensors(epochs_in(one.checkpoints / run)[-1])) > spec.lr
        assert trained_apart(run, one, two) < (spec.lr / 20 if spec.optimizer == "adam" else 1e-5), spec


def in_two_processes(specs: list[TrainSpec], home: Home, env: dict[str, str], server: Server, script: Path) -> None:
    """Train these, all by one start of two processes."""
    script.write_text(WORKER, encoding="utf8")
    memory = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    together = {
        **os.environ, **env, "MMCOA_HOME": str(home.root), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(memory.port), "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }  # fmt: skip
    document = json.dumps([(asdict(spec), IN_PIECES.get(number)) for number, spec in enumerate(specs)])
    ranks = [{**together, "RANK": rank, "LOCAL_RANK": rank} for rank in "01"]
    both = [Started(server, [document], variables, script.parent, script=str(script)) for variables in ranks]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said


@pytest.mark.slow
def test_a_wrapper_of_a_plugin_is_trained_by_a_launch(
    new_home: Callable[[str], Home], variables: dict[str, str], typed: Callable[..., Any]
) -> None:
    one, two = new_home("one"), new_home("two")
    spec = train_spec(
        "bordered", dataset="digits", shots="2", model="vit", epochs=1, batch_size=17, eps="8/255", steps=2
    )
    words = shlex.split(command_of_training(spec))[1:]
    launched = typed(two, *words, "--no-evaluate", "--processes", "2", **variables)
    run = train(spec, one, Accelerator(cpu=True)).id
    code, _, err = launched.end()
    assert code == 0, err
    assert trained_apart(run, one, two) < 1e-5


def trained_apart(run: str, one: Home, two: Home) -> float:
    """How far the run's weights in one store are from those in the other."""
    return difference(*(load_tensors(epochs_in(home.checkpoints / run)[-1]) for home in (one, two)))


def difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)
