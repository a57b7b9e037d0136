"""Names and numbers with commas between them, words that are no choice, and what a shell completes."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from mmcoa_cli.app import app
from mmcoa_cli.commands import options as o
from mmcoa_cli.terminal.choices import Names, Numbers, Rates, checked, keeping, names, numbers, one, rates, several
from mmcoa_cli.terminal.flattened import flattened


def test_several_with_commas_between_them() -> None:
    assert names(" a, b,,c ") == ("a", "b", "c") == names(Names(("a", "b", "c")))
    assert numbers("3, 1,3") == (3, 1) == numbers(Numbers((3, 1)))
    assert rates("1e-6, 0.5,5e-1") == (1e-6, 0.5) == rates(Rates((1e-6, 0.5)))
    assert (str(names("a, b")), str(numbers("0, 1")), str(rates("1e-6,1"))) == ("a,b", "0,1", "1e-06,1.0")


@pytest.mark.parametrize("text", ["", " ", ",,"])
def test_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        names(text)
    with pytest.raises(typer.BadParameter):
        numbers(text)


@pytest.mark.parametrize("text", ["x", "1.5", "0,x", "1e3"])
def test_what_is_no_whole_number_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="whole number"):
        numbers(text)


def test_a_word_that_is_no_choice_is_told_the_choices_and_the_nearest() -> None:
    assert checked("image", ["image", "text"]) == "image"
    with pytest.raises(typer.BadParameter, match=r"'imgae' is not one of 'image', 'text'\. Did you mean 'image'\?"):
        checked("imgae", ["image", "text"])
    with pytest.raises(typer.BadParameter) as error:
        checked("zzz", ["image", "text"])
    assert "Did you mean" not in str(error.value.message)


def test_a_word_is_one_in_any_case() -> None:
    assert (checked("TeCoA", ["tecoa", "mmcoa"]), checked("tecoa", ["TeCoA"]), keeping("LAST")) == (
        "tecoa",
        "TeCoA",
        "last",
    )
    assert checked("a", ["A", "a"]) == "a"  # as it is written, where several differ in that alone
    with pytest.raises(typer.BadParameter, match="Did you mean 'TeCoA'"):
        checked("tekoa", ["TeCoA"])


def test_a_closed_set_is_one_in_any_case_and_ends_in_its_own_word() -> None:
    handed: list[object] = []
    alone = typer.Typer()

    @alone.command()
    @flattened
    def command(*, norm: o.Norm = "linf", precision: o.Precision = "fp32", attack: o.Attacks = o.ATTACKS) -> None:
        handed.extend([norm, precision, tuple(attack)])

    assert CliRunner().invoke(alone, ["--norm", "L2", "--precision", "BF16", "--attack", "Clean,IMAGE"]).exit_code == 0
    assert handed == ["l2", "bf16", ("clean", "image")]
    assert "is not one of" in CliRunner().invoke(app, ["evaluate", "--checkpoint", "x", "--norm", "L3"]).stderr


@pytest.mark.parametrize("text", ["x", "1,x", "1e", "0x1"])
def test_what_is_no_number_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="no number"):
        rates(text)


def test_a_completion_is_of_the_last_name_and_never_fails() -> None:
    rows = ["cifar10", "cifar100", "digits", "digits"]
    assert one(lambda: rows)("") == ["cifar10", "cifar100", "digits"]
    assert one(lambda: rows)("cif") == ["cifar10", "cifar100"]
    assert several(lambda: rows)("digits,c") == ["digits,cifar10", "digits,cifar100"]
    assert several(lambda: rows)("digits,cifar10,") == ["digits,cifar10,cifar100"]

    def broken() -> list[str]:
        raise OSError

    assert one(broken)("x") == several(broken)("x") == []
