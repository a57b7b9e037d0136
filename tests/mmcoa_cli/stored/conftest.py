"""What the tests of the store's keeping share: a store with a trained run that was tested, made once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mmcoa_cli.commands import store
from mmcoa_cli.jobs import launch
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.job import Job
from mmcoa_cli.jobs.training_spec import train_spec
from mmcoa_cli.settings import Home
from store.errors import UserError
from store.index import Index

RUN = train_spec("tecoa", dataset="digits", shots="1", model="vit", epochs=2, batch_size=5, lr=1e-3, steps=1)

app = typer.Typer()
app.add_typer(store.app, name="store")


@pytest.fixture(scope="session")
def tested(furnish: Callable[[Path], Home], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run of two epochs, and with the model it began with, each tested clean and under two attacks."""
    home = furnish(tmp_path_factory.mktemp("tested") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMCOA_HOME", str(home.root))
        patch.delenv("MMCOA_DATABASE_URL", raising=False)
        run = launch.run(Job(RUN, keep=None)).run
        for checkpoint in (run, "vit"):
            spec = evaluation_spec(checkpoint, ("digits",), ("clean", "image"), limit=10, steps=1)
            launch.run(Job(evaluate=spec))
    return home.root


@pytest.fixture
def home(tested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A copy of it, of the test's own."""
    root = tmp_path / "home"
    shutil.copytree(tested, root)
    monkeypatch.setenv("MMCOA_HOME", str(root))
    monkeypatch.delenv("MMCOA_DATABASE_URL", raising=False)
    yield Home(root, f"sqlite:///{root / 'index.db'}")


@pytest.fixture
def run(home: Home) -> str:
    """The id of the trained run."""
    return next(run.id for run in Index(home.database_url).runs() if run.source)


def typed(*words: str) -> Any:
    """What `mmcoa store ... --json` prints. Raises UserError as it does."""
    ended = CliRunner().invoke(app, ["store", *words, "--json"])
    if isinstance(ended.exception, UserError):
        raise ended.exception
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)


def shown(*words: str) -> str:
    ended = CliRunner().invoke(app, ["store", *words])
    assert ended.exit_code == 0, ended.output
    return ended.stdout
