"""What the store is known to have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from indexes import RUN

from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.job import Job
from mmcoa_cli.jobs.known import Known
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.models.epochs import path_of
from mmcoa_cli.settings import Home


def test_a_run_keeps_all_where_each_of_its_epochs_is_there(tmp_path: Path) -> None:
    home, run = Home(tmp_path, f"sqlite:///{tmp_path / 'index.db'}"), replace(RUN, spec='{"epochs": 3}')
    for epoch in (2, 3):
        path_of(home.checkpoints / run.id, epoch).mkdir(parents=True)
    assert not Known(home).keeps_all(run)
    path_of(home.checkpoints / run.id, 1).mkdir()
    assert Known(home).keeps_all(run)


def test_what_is_left_of_a_run_are_the_epochs_that_are_not_there(home: Home) -> None:
    """By a recipe they are in its last stage, whose steps are the usual ones."""
    spec = train_spec("tecoa", dataset="digits", shots="1", model="vit", epochs=5, recipe="fast")
    known, test = Known(home), evaluation_spec("vit", ("digits",), ("image",))
    assert known.left(Job(spec)) == Job(spec)
    for epoch, left in ((1, 4), (4, 1), (5, 0)):
        path_of(home.checkpoints / known.run_id(spec), epoch).mkdir(parents=True)
        assert known.left(Job(spec)) == (Job(replace(spec, epochs=left, recipe="")) if left else None)
    assert known.left(Job(evaluate=test)) == Job(evaluate=test.changed(attacks=("clean", "image")))
