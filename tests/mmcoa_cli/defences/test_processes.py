"""Losses and wrappers of plugins by two processes: one batch, whose steps are those of one process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

import store
from mmcoa_cli.jobs import launch
from mmcoa_cli.jobs.training import train
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.jobs.worker import Job, Start
from mmcoa_cli.models.epochs import epochs_in
from mmcoa_cli.settings import Home
from store.checkpoints import load_tensors

PLUGIN = """
import border
import pmg_aft

from mmcoa_cli import catalog, defences
from mmcoa_cli.models.victim import WRAPPERS

WRAPPERS["border"] = border.BORDER
for module in (border, pmg_aft):
    catalog.methods().update(catalog.methods_in(module.ROW))
defences.register("bordered", "border")
defences.register("pmg_aft", "pmg_aft")
"""
CASES: list[dict[str, Any]] = [
    {"method": "pmg-aft", "model": "vit", "lr": 1e-2},
    {"method": "pmg-aft", "model": "resnet", "lr": 1e-2},  # whose BatchNorm has statistics
    {"method": "bordered", "model": "vit"},
    {"method": "vp", "model": "vit", "lr": 1.0, "prompt_tokens": 2},
    {"method": "advpt", "model": "resnet", "lr": 1.0},
]


@pytest.mark.slow
@pytest.mark.parametrize("changes", CASES, ids=lambda changes: f"{changes['method']} of {changes['model']}")
def test_two_processes_take_the_steps_of_one(
    new_home: Callable[[str], Home],
    plugins: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    changes: dict[str, Any],
) -> None:
    one, two = new_home("one"), new_home("two")
    (tmp_path / "both.py").write_text(PLUGIN, encoding="utf8")
    path = [str(tmp_path), str(Path(__file__).parent / "plugins"), str(Path(store.__file__).parents[1])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    monkeypatch.setenv("MMCOA_PLUGINS", "both")
    monkeypatch.setenv("MMCOA_HOME", str(two.root))
    monkeypatch.delenv("MMCOA_DATABASE_URL", raising=False)
    spec = train_spec(dataset="digits", shots="2", epochs=1, batch_size=17, eps="8/255", steps=2, **changes)
    run = train(spec, one, Accelerator(cpu=True))
    assert launch.run(Job(spec), Start(processes=2)).run == run.id
    ours, theirs = (load_tensors(epochs_in(home.checkpoints / run.id)[0]) for home in (one, two))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert float((tensor - theirs[name]).abs().max()) < 1e-5, name
