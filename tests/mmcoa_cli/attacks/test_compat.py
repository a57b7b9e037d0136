"""The parts of `--compat`: how they are written, and who has a use for which."""

from __future__ import annotations

import pytest

from mmcoa_cli.attacks.compat import of_test, of_text, of_training, parts
from mmcoa_cli.jobs.evaluation_spec import evaluation_after, evaluation_spec
from mmcoa_cli.jobs.training_spec import train_spec
from store.errors import UserError


@pytest.mark.parametrize(
    ("typed", "text", "training", "test"),
    [
        ("none", "none", "none", "none"),
        ("release", "release", "release", "release"),
        ("case, positions", "positions,case", "positions,case", "positions,case"),
        ("leak", "none", "leak", "none"),
        ("ties", "none", "none", "ties"),
        ("ties,release", "release", "release", "release,ties"),
        ("single,words,case,positions", "release", "text", "release"),
        ("text,ties", "release", "text", "release,ties"),
        ("single,words,case,positions,leak", "release", "release", "release"),
        ("none,case,case", "case", "case", "case"),
    ],
)
def test_each_has_one_form_for_each_use(typed: str, text: str, training: str, test: str) -> None:
    assert of_text(typed) == text
    assert of_training(typed, image=True, text=True) == training
    assert of_test(typed, text=True) == test


def test_what_a_method_or_an_attack_has_no_use_for_is_no_part_of_it() -> None:
    """Except for the bundle, under which runs and results of the first versions lie."""
    found = {
        name: [train_spec(name, compat=c).compat for c in ("leak,case", "case", "release")]
        for name in ("ft-standard", "tecoa", "mmcoa")
    }
    assert found == {
        "ft-standard": ["none", "none", "release"],
        "tecoa": ["leak", "none", "release"],
        "mmcoa": ["leak,case", "case", "release"],
    }
    assert evaluation_spec("m", ("d",), ("image",), compat="case,ties").compat == "ties"
    assert evaluation_spec("m", ("d",), ("image",), compat="release").compat == "release"
    assert evaluation_spec("m", ("d",), ("multimodal",), compat="case,ties").compat == "case,ties"


def test_the_test_after_training_has_the_parts_that_concern_it() -> None:
    leaking = train_spec("mmcoa", compat="leak,case")
    assert (leaking.text_attack.compat, evaluation_after(leaking).compat) == ("case", "case")
    assert evaluation_after(train_spec("tecoa", compat="leak")).compat == "none"


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(UserError) as error:
        parts("leak,bias")
    assert "--compat bias is unknown" in str(error.value) and "positions" in error.value.hint
    with pytest.raises(UserError, match="more than a run can be told by"):
        train_spec("mmcoa", compat="leak,positions,case,words")
    with pytest.raises(UserError, match="attacks each image for all of its steps"):
        train_spec("tecoa", compat="leak", stop_when_fooled=True)
