"""Checks of what was typed. Each error says in one line what is wrong, and in a hint what to type."""

from __future__ import annotations

import math
from pathlib import Path

from store.errors import UserError

MOST = {  # the largest value that anybody means
    "--epochs": 10**6, "--batch-size": 10**6, "--lr": 10**6, "--steps": 10**6, "--limit": 10**9, "--pixel-size": 1024,
    "--hours": 10**5, "--processes": 1024, "--jobs": 1024, "--workers": 128,
}  # fmt: skip


def one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises UserError unless `value` is one of `choices`."""
    if value not in choices:
        raise UserError(f"{option} {value} is unknown", hint=f"{option} takes {', '.join(choices)}")


def positive(option: str, value: float) -> None:
    """Raises UserError unless `value` is above 0, finite, and no larger than anybody means."""
    if not 0 < value < math.inf:
        told = "is not positive" if value <= 0 else "is not a finite number"
        raise UserError(f"{option} {value} {told}", hint="give a number above 0, or leave it out")
    within(option, value)


def within(option: str, value: float) -> None:
    """Raises UserError for more than anybody means: it would run for years, or take all memory."""
    if not value <= MOST.get(option, value):
        raise UserError(f"{option} {value} is too large", hint=f"{option} takes at most {MOST[option]:,}")


def not_negative(option: str, value: float) -> None:
    """Raises UserError for a negative `value`."""
    if not 0 <= value < 2**63:
        raise UserError(f"{option} {value} is out of range", hint=f"{option} 0")


def require_new(folder: Path) -> None:
    """Raises UserError where a folder cannot be made, or has something in it: nothing is written over."""
    require_folder(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is no folder", hint="name one that is not there yet")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty", hint="name a folder that is not there yet")


def require_folder(file: Path) -> None:
    """Raises UserError where the folder that `file` is to be written into is not there."""
    if not file.parent.is_dir():
        raise UserError(f"there is no folder {file.parent} for {file.name}", hint="make it, or name another")
