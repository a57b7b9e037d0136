"""What the store is known to have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from indexes import RUN

from mmcoa_cli.jobs.known import Known
from mmcoa_cli.models.epochs import path_of
from mmcoa_cli.settings import Home


def test_a_run_keeps_all_where_each_of_its_epochs_is_there(tmp_path: Path) -> None:
    home, run = Home(tmp_path, f"sqlite:///{tmp_path / 'index.db'}"), replace(RUN, spec='{"epochs": 3}')
    for epoch in (2, 3):
        path_of(home.checkpoints / run.id, epoch).mkdir(parents=True)
    assert not Known(home).keeps_all(run)
    path_of(home.checkpoints / run.id, 1).mkdir()
    assert Known(home).keeps_all(run)
