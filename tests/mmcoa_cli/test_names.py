"""File names of what is in the store."""

from __future__ import annotations

import pytest

from mmcoa_cli.names import meant, require_printable, store_name
from store.errors import UserError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar10", "cifar10"),
        ("hf-hub:org/name@main", "hf-hub-org-name-main"),
        ("ViT-B-32:openai", "ViT-B-32-openai"),
        ("a/../b", "a-..-b"),
        ("ünï", None),
        ("..", None),
        (".hidden", None),
        ("/etc/passwd", None),
        ("-x", None),
        ("", None),
        ("x" * 201, None),
    ],
)
def test_names_stay_in_their_folder(name: str, expected: str | None) -> None:
    if expected:
        assert store_name(name) == expected
    else:
        with pytest.raises(UserError, match="cannot be a name"):
            store_name(name)


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\nerror: b", "a\u202eb", "a\u200bb", "a\udcff", "a\0"])
def test_names_that_do_not_print_are_refused_by_their_signs(name: str) -> None:
    with pytest.raises(UserError, match="characters that do not print") as raised:
        store_name(name)
    assert str(raised.value).isascii() and str(raised.value).isprintable()
    with pytest.raises(UserError, match="the class name"):
        require_printable(name, "the class name")


def test_names_in_any_script_print() -> None:
    for name in ("crème brûlée", "犬", "a|b", "", "می\u200cخواهم"):
        assert require_printable(name, "the class name") == name


def test_a_long_name_is_not_shown_in_full() -> None:
    with pytest.raises(UserError, match=r"5,000 characters") as raised:
        store_name("9" * 5000)
    assert len(str(raised.value)) < 100 and raised.value.hint == "a name has at most 200 characters"


def test_a_name_that_is_meant_is_found_in_any_case() -> None:
    assert meant("vit-b-23", ["ViT-B-32", "digits"]) == "did you mean ViT-B-32?"
    assert meant("zzzz", ["ViT-B-32", "digits"]) == ""
