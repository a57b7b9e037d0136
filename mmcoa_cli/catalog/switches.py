"""What the paper's released code does otherwise than we do, as rows of data: switches that are turned on one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from .. import catalog

OURS, RELEASE, PAPER = "ours", "release", "paper"  # what stands beside the switches: none, all, and what was printed


@dataclass(frozen=True)
class SwitchRow:
    """Options of `mmcoa train` and of `mmcoa evaluate` that make something as the released code does.

    It is one only of runs that have the options `instead_of`, of these `tasks` (empty: all), and not of the datasets
    `but`. `together` says whether the released code does it: then it takes part where all are turned on.
    """

    name: str
    title: str = ""
    training: Mapping[str, Any] = field(default_factory=dict, hash=False)
    test: Mapping[str, Any] = field(default_factory=dict, hash=False)
    instead_of: Mapping[str, Any] = field(default_factory=dict, hash=False)
    but: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    together: bool = True


@cache
def switches() -> dict[str, SwitchRow]:
    return catalog.rows_in(SwitchRow, "switches.toml", "switch")
