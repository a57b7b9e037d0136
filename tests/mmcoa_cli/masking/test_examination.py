"""`mmcoa doctor --checkpoint`, as typed: who is suspected, and by what, and who is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmcoa_cli.settings import Home
from store.dataset_writing import DatasetWriter
from store.datasets import Dataset

ROOT, HERE = Path(__file__).parents[3], Path(__file__).parent
PLUGIN = {"MMCOA_PLUGINS": "hidden", "PYTHONPATH": f"{ROOT}:{HERE}"}
BALL = ("--dataset", "digits", "--eps", "24/255", "--limit", "40")
CHECKS = ["gradient", "probabilities", "steps", "apgd", "transfer", "noise", "unbounded", "batches", "precision"]


@pytest.fixture
def examined(home: Home, typed: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """What the doctor says of a model."""

    def examined(checkpoint: str, *words: str) -> dict[str, Any]:
        code, out, err = typed(home, "doctor", "--checkpoint", checkpoint, *words, "--json", **PLUGIN).end()
        assert code == 0, err
        assert "images of" in err and "at most about" in err  # said before it begins
        return dict(json.loads(out))

    return examined


def suspected(document: dict[str, Any]) -> set[str]:
    assert [check["name"] for check in document["checks"]] == CHECKS
    assert all(bool(check["advice"]) == (check["status"] == "warn") for check in document["checks"])
    found = {check["name"] for check in document["checks"] if check["status"] == "warn"}
    assert document["suspicious"] is bool(found)
    assert document["verdict"].startswith("suspicious" if found else "nothing speaks against it")
    return found


@pytest.mark.slow
def test_an_honest_defence_is_not_suspected_on_its_own_dataset(
    home: Home, typed: Callable[..., Any], examined: Callable[..., dict[str, Any]]
) -> None:
    words = ("--model", "vit", "--mlm", "mlm", "--dataset", "digits", "--shots", "10", "--epochs", "1", "--lr", "1e-4")
    code, out, err = typed(home, "train", "--method", "mmcoa", *words, "--no-evaluate").end()
    assert code == 0, err
    run = out.split()[-1]
    document = examined(run, "--eps", "12/255")
    assert (document["run"], document["dataset"], document["n"]) == (run, "digits", 20)
    assert suspected(document) == set()
    assert document["checks"][4]["numbers"].keys() == {"n", "transferred", "own"}


@pytest.mark.slow(seconds=30)
@pytest.mark.parametrize(
    ("hidden", "by", "zero"),
    [
        ("squeezed", {"probabilities"}, 0),
        ("saturated", {"gradient", "unbounded"}, 10),
        ("rounded-logits", {"gradient", "unbounded"}, 40),
        ("rounded-inputs", {"gradient", "unbounded"}, 40),
        ("of-its-batch", {"batches"}, 0),
        ("drawn", {"batches"}, 0),
    ],
)
def test_hidden_gradients_are_found_by_what_hides_them(
    examined: Callable[..., dict[str, Any]], hidden: str, by: set[str], zero: int
) -> None:
    document = examined(f"{hidden}-vit", *BALL)
    found = suspected(document)
    assert by <= found
    assert document["checks"][0]["numbers"]["zero"] >= zero
    if not zero:
        assert "gradient" not in found


def test_an_honest_model_is_not_suspected(
    home: Home, typed: Callable[..., Any], examined: Callable[..., dict[str, Any]]
) -> None:
    """And the examples of an evaluation are used again."""
    words = ("evaluate", "--checkpoint", "vit", *BALL, "--attack", "clean,image", "--json")
    code, out, err = typed(home, *words).end()
    assert code == 0, err
    made = {path: path.stat().st_mtime_ns for path in home.examples.glob("*.h5")}
    document = examined("vit", *BALL)
    assert suspected(document) == set()
    of = {check["name"]: check for check in document["checks"]}
    assert of["transfer"]["status"] == "skip" and "vit" in of["transfer"]["found"]  # it came from no other
    assert of["gradient"]["numbers"] == {"n": 40, "zero": 0, "not_finite": 0}
    assert document["robust"] == of["noise"]["numbers"]["other"] < of["noise"]["numbers"]["one"]
    assert document["robust"] == json.loads(out)["rows"][1]["value"]
    # beside these two: 10 steps, APGD, noise, no bounds, and where this CPU has bf16, in that clean ones and 10 steps
    assert len(list(home.examples.glob("*.h5"))) in (6, 8)
    assert {path: path.stat().st_mtime_ns for path in made} == made


def test_captions_are_examined_by_what_images_find(home: Home, examined: Callable[..., dict[str, Any]]) -> None:
    with (
        Dataset.open(home.datasets / "digits.h5") as digits,
        DatasetWriter(
            home.datasets / "pairs.h5", name="pairs", class_names=(), pixel_size=8, resize=None,
            template="", source="test", image_size=8,
        ) as out,
    ):  # fmt: skip
        names, labels = digits.info.class_names, digits.labels("test")
        for i in range(20):
            line = f"This is a photo of a {names[labels[20 * i]]}"
            out.add("test", digits.images("test", [20 * i])[0], captions=[line])
    document = examined("vit", "--dataset", "pairs")
    assert document["metric"] == "TR@1" and document["n"] == 20
    skipped = {check["name"] for check in document["checks"] if check["status"] == "skip"}
    assert {"probabilities", "apgd", "transfer"} <= skipped <= {"probabilities", "apgd", "transfer", "precision"}
    assert suspected(document) == set()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--checkpoint", "vit"), "vit was trained on no dataset of the store"),
        (("--checkpoint", "no-such-run", "--dataset", "digits"), "no-such-run"),
        (("--checkpoint", "vit", "--dataset", "digitz"), "digitz"),
        (("--eps", "2/255", "--limit", "5"), "--eps, --limit would be ignored: there is no --checkpoint to attack"),
    ],
)
def test_what_cannot_be_examined(home: Home, typed: Callable[..., Any], words: tuple[str, ...], said: str) -> None:
    code, out, err = typed(home, "doctor", *words).end()
    assert (code, out) == (1, "") and err.count("\n") == 2
    assert said in err
