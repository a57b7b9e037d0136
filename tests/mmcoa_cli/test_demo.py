"""What `mmcoa demo` trains and says at its end; tests/test_readme.py runs it as a whole."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from rich.text import Text

from mmcoa_cli import catalog, demo
from mmcoa_cli.app import VERBS
from mmcoa_cli.jobs.evaluation_spec import evaluation_after
from mmcoa_cli.jobs.job import Outcome
from mmcoa_cli.jobs.training_spec import TrainSpec
from mmcoa_cli.settings import Home


@pytest.mark.parametrize("spec", demo.specs(), ids=lambda spec: spec.method)
def test_it_trains_on_what_needs_no_network(spec: TrainSpec) -> None:
    assert catalog.datasets()[spec.dataset].embedded
    assert catalog.models()[spec.model].embedded and catalog.mlms()[spec.mlm].embedded
    evaluation = evaluation_after(spec)
    assert evaluation.attacks == ("clean", "image", "text", "multimodal") and evaluation.limit is None
    assert "steps" not in evaluation.options and "stop_when_fooled" not in evaluation.options


def test_the_four_are_trained_and_tested_alike() -> None:
    specs = demo.specs()
    assert len({spec.method for spec in specs}) == 4
    tests = [evaluation_after(spec) for spec in specs]
    assert all(test == tests[0] for test in tests)


def test_it_ends_with_places_and_commands(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", "")
    lines = [Text.from_markup(line).plain for line in demo.closing(home, [Outcome("a-run", [])])]
    places, commands = "\n".join(lines).split("What to type next")
    for place in (home.datasets, home.models, home.checkpoints / "a-run", home.examples, home.root / "index.db"):
        assert str(place) in places
    typed = [shlex.split(command) for line in commands.strip().splitlines() for command in line.split("&&")]
    assert len(commands.strip().splitlines()) == 3
    assert all(words[0] == "mmcoa" and words[1] in {*VERBS} for words in typed)
