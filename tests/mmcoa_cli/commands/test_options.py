"""Every option of every verb with values that nobody can mean: one line each, and nothing heavy is begun.

The verbs and their options are read from the program, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mmcoa_cli import app

NASTY = {
    "nothing": "", "a space": " ", "nan": "nan", "inf": "inf", "-inf": "-inf", "-1": "-1", "0": "0", "1e18": "1e18",
    "2**60": str(2**60), "beyond 64 bits": str(10**30), "5000 digits": "9" * 5000, "1e999999999": "1e999999999",
    "1/0": "1/0", "a newline": "\n", "an escape": "\x1b[31m", "no UTF-8": "\udcff", "out of the store": "../../x",
    "the root": "/", "home": "~", "an emoji": "🐈", "a superscript": "²", "long": "x" * 300, "deep": "x/" * 3000,
    "a device": "/dev/null", "an endless device": "/dev/zero", "a full device": "/dev/full", "a folder": "/tmp",
    "commas": ",,,", "markup": "[red]", "a format": "{}%s", "a hub without a name": "hf-hub:", "a hub": "hf-hub:a/b@c",
    "a colon": ":", "no tag": "ViT-B-32:", "a process": "/proc/self/mem", "JSON": '{"a": [1]}', "a loop": "LOOP",
}  # fmt: skip
USUAL = {  # words beside which the option stands: the dataset is not there, so that nothing is ever begun
    "train": ["--dataset", "nothing-here"],
    "evaluate": ["--checkpoint", "vit", "--dataset", "nothing-here"],
    "attack": ["image", "--dataset", "nothing-here"],
    "pretrain": ["--config", "/dev/null", "--dataset", "nothing-here", "--name", "x"],
    "interpolate": ["nothing-here", "vit"],
    "tsne": ["--checkpoint", "vit", "--dataset", "nothing-here"],
    "reproduce": ["table8", "--dry-run"],
    "fetch": ["nothing-here"],
    "export": ["nothing-here", "out"],
    "push": ["nothing-here", "a/b", "--dry-run"],
    "doctor": ["--checkpoint", "nothing-here"],
    "bench": ["data", "--compare", "nothing-here"],
}
ENOUGH = 10  # values, with numbers among them, that typer refuses by itself: then it is a choice among words
VERBS: dict[str, Any] = app.program().commands
EVERY = [(verb, option) for verb, one in VERBS.items() for option in one.params if not getattr(option, "is_flag", 0)]
OF_EVALUATE = {option.help for verb, option in EVERY if verb == "evaluate"}
SHARED = ("attack", "tsne")  # they have the options of `evaluate`
OPTIONS = [(verb, one) for verb, one in EVERY if verb not in SHARED or one.help not in OF_EVALUATE]


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., int]]:
    """Runs a command, which has to end as a user's error does, or well."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("MMCOA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "LOOP").symlink_to("LOOP")

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["mmcoa", *words])
        with pytest.raises(SystemExit) as ended:
            app.main()
        out, err = capsys.readouterr()
        code = ended.value.code or 0
        assert code in (0, 1, 2), words
        assert "Traceback" not in err and "bug in mmcoa" not in err, (words, err[-600:])
        assert code != 1 or [line.partition(":")[0] for line in err.splitlines()[-2:]] == ["error", "hint"], (
            words,
            err,
        )
        assert code != 2 or "Error" in err, (words, err)
        assert "\x1b[31m" not in out + err
        return int(code)

    before = {path: path.stat().st_mtime_ns for path in (tmp_path.parent, Path("/"))}
    yield run
    assert {path: path.stat().st_mtime_ns for path in before} == before  # nothing beside the store


@pytest.mark.parametrize(("verb", "option"), OPTIONS, ids=[f"{verb} {option.name}" for verb, option in OPTIONS])
def test_an_option_that_nobody_can_mean(refused: Callable[..., int], verb: str, option: Any) -> None:
    usual = USUAL.get(verb, [])
    flag = next((name for name in option.opts if name.startswith("--")), None)
    codes = []
    for name, value in NASTY.items():
        if option.name == "from_" and name in ("the root", "home", "a folder"):
            continue  # those hold all kinds of things, and take as long as they are large
        codes.append(refused(verb, *usual, f"{flag}={value}") if flag else refused(verb, *usual[1:], "--", value))
        if codes == [2] * ENOUGH:
            return


def test_the_table_has_every_verb() -> None:
    takes_nothing = {verb for verb, one in VERBS.items() if all(getattr(option, "is_flag", 0) for option in one.params)}
    assert set(VERBS) - takes_nothing <= {*USUAL, "list", "report", "runs", "show", "store"}
    assert os.sep not in "".join(VERBS)
