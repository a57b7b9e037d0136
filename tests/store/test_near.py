"""Names that may be meant: each once, the nearest first, and none that is much further off."""

from __future__ import annotations

import pytest

from store.near import near


@pytest.mark.parametrize(
    ("typed", "known", "found"),
    [
        ("clip-vit-cifar", ["clip-vit-cifar10", "clip-vit-cifar10", "tecoa-cifar10-5shot-1"], ["clip-vit-cifar10"]),
        ("cifar1000", ["cifar100", "cifar10", "stl10"], ["cifar100", "cifar10"]),
        ("TECOA-digits", ["mmcoa-digits-5shot", "tecoa-digits-5shot"], ["tecoa-digits-5shot"]),
        ("zzz", ["cifar10"], []),
        ("x", [], []),
        ("digit", ["digits", "Digits"], ["digits", "Digits"]),
    ],
)
def test_what_may_be_meant(typed: str, known: list[str], found: list[str]) -> None:
    assert near(typed, known) == found
