"""The house is open: a table of another package is one row, reported and planned as the paper's are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmcoa_cli.settings import Home

ROOT, HERE = Path(__file__).parents[4], Path(__file__).parent
PLUGIN = {"MMCOA_PLUGINS": "by_eps", "PYTHONPATH": f"{ROOT}:{HERE}"}
MODEL = ("--checkpoint", "vit", "--dataset", "digits", "--attack", "image", "--alpha", "4/255", "--steps", "4")


def test_columns_are_radii_and_what_is_missing_has_its_command(home: Home, typed: Callable[..., Any]) -> None:
    def done(*words: str) -> str:
        code, out, err = typed(home, *words, **PLUGIN).end()
        assert code == 0, err
        return str(out)

    values = {}
    for eps in ("4/255", "16/255"):
        (row,) = json.loads(done("evaluate", *MODEL, "--eps", eps, "--json"))["rows"]
        values[eps] = row["value"]
    assert values["16/255"] < values["4/255"]

    lines = done("report", "--task", "by-eps").splitlines()
    head = next(line for line in lines if "4/255" in line and "16/255" in line and "%" not in line)
    line = next(line for line in lines if line.startswith("clip, zero-shot"))
    assert head.index("4/255") < head.index("16/255")
    assert line.split()[-2:] == [f"{100 * values[eps]:.2f}" for eps in ("4/255", "16/255")]

    report = json.loads(done("report", "--task", "by-eps", "--json"))
    assert [(row["eps"], row["value"]) for row in report["rows"]] == list(values.items())
    commands = [entry["command"] for entry in report["missing"]]
    assert any("--eps 64/255" in command and "--attack image" in command for command in commands)
    assert any("train --method ft-standard" in command for command in commands)


def test_a_plan_trains_and_tests_what_it_needs(home: Home, typed: Callable[..., Any]) -> None:
    words = ("reproduce", "by-eps", "--dry-run", "--model", "vit", "--mlm", "mlm", "--json")
    code, out, err = typed(home, *words, **PLUGIN).end()
    assert code == 0, err
    commands = [step["command"] for step in json.loads(out)["steps"]]
    for eps in ("4/255", "16/255", "64/255"):
        assert sum(f"--eps {eps}" in command for command in commands) == 2  # of the model as it comes, and of the run
    assert sum(" train " in command for command in commands) == 1
