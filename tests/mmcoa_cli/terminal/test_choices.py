"""Names and numbers with commas between them, words that are no choice, and what a shell completes."""

from __future__ import annotations

import pytest
import typer

from mmcoa_cli.terminal.choices import Names, Numbers, checked, names, numbers, one, several


def test_several_with_commas_between_them() -> None:
    assert names(" a, b,,c ") == ("a", "b", "c") == names(Names(("a", "b", "c")))
    assert numbers("3, 1,3") == (3, 1) == numbers(Numbers((3, 1)))
    assert (str(names("a, b")), str(numbers("0, 1"))) == ("a,b", "0,1")


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


def test_a_completion_is_of_the_last_name_and_never_fails() -> None:
    rows = ["cifar10", "cifar100", "digits", "digits"]
    assert one(lambda: rows)("") == ["cifar10", "cifar100", "digits"]
    assert one(lambda: rows)("cif") == ["cifar10", "cifar100"]
    assert several(lambda: rows)("digits,c") == ["digits,cifar10", "digits,cifar100"]
    assert several(lambda: rows)("digits,cifar10,") == ["digits,cifar10,cifar100"]

    def broken() -> list[str]:
        raise OSError

    assert one(broken)("x") == several(broken)("x") == []
