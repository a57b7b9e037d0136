"""`-o NAME=VALUE`: names and types are those of the settings dataclasses, and errors say what there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from mmcoa_cli.attacks.settings import BertAttackSettings, PgdSettings
from mmcoa_cli.terminal.settings_options import fields_of, parse
from store.errors import UserError


@dataclass(frozen=True)
class Settings:
    count: int = 1
    share: float = 0.5
    flag: bool = False
    kind: Literal["one", "two"] = "one"
    word: str = "x"
    maybe: int | None = None
    pair: tuple[float, float] = (0.9, 0.98)
    many: tuple[int, ...] = ()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("count=20", {"count": 20}), ("count = -3", {"count": -3}), ("share=1e-3", {"share": 0.001}),
        ("share=2", {"share": 2.0}), ("flag=true", {"flag": True}), ("flag=No", {"flag": False}),
        ("kind=two", {"kind": "two"}), ("word=a=b", {"word": "a=b"}), ("word=", {"word": ""}),
        ("maybe=none", {"maybe": None}), ("maybe=4", {"maybe": 4}),
        ("pair=0.5, 1", {"pair": (0.5, 1.0)}), ("many=3", {"many": (3,)}), ("many=3,4,5", {"many": (3, 4, 5)}),
    ],
)  # fmt: skip
def test_a_value_has_the_type_of_its_field(text: str, value: dict[str, Any]) -> None:
    found = parse([text], fields_of([Settings]), of="--attack x")
    assert found == value
    assert [type(one) for one in found.values()] == [type(one) for one in value.values()]


@pytest.mark.parametrize(
    ("text", "takes"),
    [
        ("count=2.5", "a whole number"), ("count=", "a whole number"), ("share=nan", "a number"),
        ("share=inf", "a number"), ("share=x", "a number"), ("flag=2", "true or false"),
        ("kind=three", "one of one, two"), ("maybe=x", "a whole number"), ("count=none", "a whole number"),
        ("pair=1", "2 numbers"), ("pair=1,2,3", "2 numbers"), ("pair=1,x", "2 numbers"),
        ("many=1,", "whole numbers with commas"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_told_what_it_takes(text: str, takes: str) -> None:
    with pytest.raises(UserError) as error:
        parse([text], fields_of([Settings]), of="--attack x")
    assert f"-o {text}:" in str(error.value) and takes in error.value.hint


def test_the_names_are_those_of_all_that_is_asked_for() -> None:
    both = fields_of([PgdSettings, None, BertAttackSettings], but=["compat"])
    assert parse(["random-start=false", "max_candidates=5"], both, of="x") == {
        "random_start": False,
        "max_candidates": 5,
    }
    with pytest.raises(UserError, match="--attack image has no option 'max_candidates'") as error:
        parse(["max_candidates=5"], fields_of([PgdSettings]), of="--attack image")
    assert all(name in error.value.hint for name in ("norm", "eps", "random_start"))
    with pytest.raises(UserError) as error:
        parse(["max_candidate=5"], both, of="x")
    assert error.value.hint == "did you mean max_candidates?"
    with pytest.raises(UserError, match="has no option 'compat'"):
        parse(["compat=release"], both, of="x")
    with pytest.raises(UserError) as error:
        parse(["eps=1/255"], {}, of="--attack clean")
    assert error.value.hint == "--attack clean takes no -o: leave it out"


@pytest.mark.parametrize("text", ["eps", "=1", "", "==", " =x"])
def test_what_is_no_assignment(text: str) -> None:
    with pytest.raises(UserError, match="is no NAME=VALUE"):
        parse([text], fields_of([PgdSettings]), of="x")


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(UserError, match="-o random_start is given twice"):
        parse(["random_start=yes", "random-start=no"], fields_of([PgdSettings]), of="x")
