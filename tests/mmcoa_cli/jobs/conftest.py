"""What the tests of jobs share: the options of one small run, and an evaluation from a specification alone."""

from __future__ import annotations

from typing import Any

from accelerate import Accelerator

from mmcoa_cli.datasets.library import open_dataset
from mmcoa_cli.jobs.evaluation import evaluate
from mmcoa_cli.jobs.evaluation_spec import EvaluationSpec
from mmcoa_cli.jobs.subject import find_subject
from mmcoa_cli.settings import Home
from store.dataset_writing import DatasetWriter

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SMALL_ATTACK: dict[str, Any] = {"eps": "8/255", "alpha": "4/255", "steps": 2}
SMALL_RUN: dict[str, Any] = {
    "dataset": "digits", "shots": "2", "model": "vit", "mlm": "mlm", "epochs": 1, "batch_size": 8, **SMALL_ATTACK,
}  # fmt: skip


def evaluated(spec: EvaluationSpec, home: Home, accelerator: Accelerator) -> list[str]:
    """Test what `spec` names; the ids of the results."""
    return evaluate([spec], find_subject(spec, home), home, accelerator)


def write_pairs(home: Home, *, number: int = 24) -> None:
    """Into the store: so many of the digits, each with one to three captions, some of them the same."""
    with (
        open_dataset("digits", home) as digits,
        DatasetWriter(
            home.datasets / "pairs.h5", name="pairs", class_names=(), pixel_size=8, resize=None,
            template="", source="test", image_size=8,
        ) as out,
    ):  # fmt: skip
        for i in range(number):
            word = WORDS[int(digits.labels("test")[20 * i])]
            lines = [f"This is a photo of a {word}.", f"A photo of the {word}, number {i}", f"The {word}!"]
            out.add("test", digits.images("test", [20 * i])[0], captions=lines[: 1 + i % 3])
