"""Class prompts as the paper fills them."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.datasets.prompts import class_prompts, clean_name


class Name(NamedTuple):
    given: str
    cleaned: str


NAMES = [
    Name("cat", "cat"),
    Name("Cat", "cat"),
    Name("maple_tree", "maple tree"),
    Name("T-shirt", "t shirt"),
    Name("café/bar", "café bar"),
    Name("Boeing 717-200", "boeing 717 200"),
    Name("jack-o'-lantern", "jack o' lantern"),
    Name("bird's nest", "bird's nest"),
    Name("St. Bernard", "st. bernard"),
    Name("  a__b - c/ ", "a b c"),
    Name("curly {braces}", "curly {braces}"),
    Name("100%", "100%"),
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name.given)
def test_class_names_are_lower_case_without_joining_marks(name: Name):
    assert clean_name(name.given) == name.cleaned
    assert clean_name(name.cleaned) == name.cleaned


def test_prompts_are_the_papers():
    """Capital T, no full stop, the article always "a"."""
    prompts = class_prompts(["airplane", "Maple_Tree"], catalog.TEMPLATE)
    assert prompts == ["This is a photo of a airplane", "This is a photo of a maple tree"]


def test_a_class_name_is_never_taken_for_a_template():
    assert class_prompts(["{}", "{0}"], "a {} of {}") == ["a {} of {}", "a {0} of {0}"]
