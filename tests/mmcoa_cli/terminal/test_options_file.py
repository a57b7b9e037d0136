"""`--config FILE`: options from a file, what is typed above them, and files that are wrong or hostile."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mmcoa_cli.app import app
from mmcoa_cli.commands import grid, groups
from mmcoa_cli.jobs.evaluation_spec import evaluation_after
from mmcoa_cli.jobs.training_spec import TrainSpec, train_spec
from mmcoa_cli.terminal.flattened import flattened
from mmcoa_cli.terminal.options_file import LARGEST, as_toml
from store.errors import UserError


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCOA_HOME", f"{tmp_path}/home")
    monkeypatch.chdir(tmp_path)


def runs(*words: str, file: str | bytes = "", tested: bool = True) -> list[TrainSpec]:
    """The runs of `mmcoa train WORDS --config FILE`. Raises what that ends with."""
    Path("run.toml").write_bytes(file.encode() if isinstance(file, str) else file)
    found: list[TrainSpec] = []
    alone = typer.Typer()

    @alone.command()
    @flattened
    def command(context: typer.Context, *, training: groups.Training, config: grid.Config = None) -> None:
        found.extend(training.runs(context, tested=tested))

    ended = CliRunner().invoke(alone, ["--config", "run.toml", *words])
    if ended.exception and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    assert ended.exit_code == 0, ended.stderr
    return found


def test_a_file_has_the_options_by_their_names() -> None:
    file = """
    method = "TeCoA"
    dataset = "digits"
    shots = 5
    batch-size = 16
    lr = 1e-5
    eps = "2/255"
    betas = [0.9, 0.99]
    schedule = "cosine"
    stop_when_fooled = true
    """
    wanted = train_spec(
        "tecoa", dataset="digits", shots="5", batch_size=16, lr=1e-5, eps="2/255", betas=(0.9, 0.99), schedule="cosine",
        stop_when_fooled=True,
    )  # fmt: skip
    assert runs(file=file) == [wanted]
    assert runs(file="") == [train_spec("mmcoa")]


def test_what_is_typed_wins() -> None:
    file = 'method = "tecoa"\nlr = 1e-5\nmomentum = 0.5\noptimizer = "sgd"\nsteps = 3\n'
    plain = runs(file=file)[0]
    assert (plain.lr, plain.optimization.momentum, plain.image_attack.steps) == (1e-5, 0.5, 3)
    typed = runs("--lr", "1e-4", "-o", "momentum=0.9", "-o", "steps=4", "--tune", "text", file=file)[0]
    assert (typed.lr, typed.tune, typed.image_attack.steps) == (1e-4, "text", 4)
    assert (typed.optimizer, typed.optimization.momentum) == ("sgd", 0.9)


def test_arrays_are_a_grid() -> None:
    found = runs(file='method = ["tecoa", "mmcoa"]\nshots = [1, "full"]\nlr = [1e-6, 1]\nseed = [0, 1]\n')
    assert len(found) == 16 and len(set(found)) == 16
    assert {(one.method, one.shots, one.lr, one.seed) for one in found} >= {("tecoa", "1", 1.0, 1)}
    assert runs("--seed", "7", file="seed = [0, 1]")[0].seed == 7


@pytest.mark.parametrize(
    ("file", "error", "hint"),
    [
        ("epochz = 3", "run.toml: 'epochz' is no option of this command", "did you mean epochs"),
        ("betaz = 3", "'betaz' is no option", "betas"),
        ('epochs = "ten"', "run.toml: epochs = 'ten': ", "epochs takes N"),
        ("epochs = true", "run.toml: epochs = 'true': ", "epochs takes N"),
        ("epochs = 1.5", "run.toml: epochs = '1.5': ", "N"),
        ("epochs = [1, 2]", "run.toml: epochs takes one value", "brackets"),
        ("shots = []", "run.toml: shots is empty", "value"),
        ("lr = ['x']", "run.toml: lr = 'x': 'x' is no number", "RATE"),
        ("method = 'x'", "run.toml: method = 'x': 'x' is not one of", "METHOD"),
        ("betas = 'x'", "run.toml: -o betas=x: 'x' is not 2 numbers", "A,B"),
        ("epochs = 1\nepochs = 2", "run.toml is no TOML file: Cannot overwrite a value (at ", "epochs = 10"),
        ("batch-size = 1\nbatch_size = 2", "batch_size stands there twice", "once"),
        ("epochs 10", "run.toml is no TOML file: Expected '=' after a key", "epochs = 10"),
        ("[training]\nepochs = 1", "'training' is no option", ""),
        ("[lr]\nepochs = 1", "run.toml: lr is a table", "one option a line"),
        ("seed = [[1]]", "run.toml: seed is an array", "one option a line"),
        ("epochs = 2026-11-26", "run.toml: epochs is a date or a time", "one option a line"),
        ('config = "other.toml"', "'config' is no option", ""),
        ('option = "a=b"', "'option' is no option", ""),
        ('model = "a\\u001b[31mb"', "run.toml: model has characters that do not print", "\\x1b[31mb"),
        ('"\\u001b[31m" = 1', "is no option", ""),
        (b"model = '\xff\xfe'", "run.toml is no TOML file", ""),
        ("method = 'tecoa'\ncontrast = 'class'", "contrast (in run.toml) would be ignored: --method tecoa", "leave it"),
        ("method = 'clip'\nmomentum = 1", "run.toml: --method clip has no option 'momentum'", "leave it out"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_that_names_the_file(file: str | bytes, error: str, hint: str) -> None:
    with pytest.raises(UserError) as found:
        runs(file=file)
    assert error in str(found.value) and hint in found.value.hint
    assert "\x1b" not in f"{found.value}{found.value.hint}" and "\n" not in str(found.value)


@pytest.mark.parametrize(
    "file",
    [
        "epochs = " + "[" * 20_000,
        "a." * 20_000 + "a = 1",
        "epochs = 1" + "0" * 5000,
        "lr = 1e" + "9" * 1000,
        "#" + "x" * LARGEST,
        "x = " + "{a=" * 5000 + "1",
    ],
    ids=["deep", "dotted", "long number", "infinite", "large", "nested"],
)  # fmt: skip
def test_a_hostile_file_does_no_harm(file: str) -> None:
    with pytest.raises(UserError) as found:
        runs(file=file)
    assert len(str(found.value)) < 500


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "nowhere.toml", "."):
        error = CliRunner().invoke(app, ["train", "--config", name]).exception
        assert isinstance(error, UserError) and f"there is no file {name}" in str(error), error


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("mmcoa", {"dataset": "digits", "shots": "5", "lr": 1e-4, "contrast": "class", "seed": 3}),
        ("tecoa", {"betas": (0.5, 0.75), "tune": "image", "eps": "4/255", "stop_when_fooled": True}),
        ("ft-standard", {"optimizer": "sgd", "momentum": 0.9, "lr": 1e-20, "precision": "bf16"}),
        ("vp", {"dataset": 'a "quoted" é 鳥 \\ name', "model": "hf-hub:a/b@c"}),
        ("mmcoa", {"compat": "release", "max_candidates": 7, "mlm": "tiny-mlm", "batch_size": 7}),
    ],
)
def test_a_file_of_a_run_is_that_run(method: str, options: dict[str, Any]) -> None:
    spec = train_spec(method, **options)
    text = as_toml(spec.to_type(evaluation_after(spec)))
    tomllib.loads(text)
    assert runs(file=text) == [spec]
