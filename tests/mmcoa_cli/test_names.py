"""File names of what is in the store."""

from __future__ import annotations

import pytest

from mmcoa_cli.names import store_name
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
