"""`mmcoa reproduce NAME --status`: the jobs of a plan, and how far each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table

from store.errors import UserError

from ..plans.steps import Step
from ..settings import Home
from . import records
from .grouping import command_of
from .records import Record


def status(steps: Sequence[Step], home: Home, *, file: Path) -> list[dict[str, Any]]:
    """Each job of a plan with its state: what the cluster says of one that has not ended; else "done", where all that
    it was to make is there, or "ended", with the last error of its log.

    Raises UserError where no job was handed in.
    """
    every = records.latest(records.read(file))
    if not every:
        raise UserError("no job of this plan was handed in", hint="add --on slurm, and the same options as then")
    states, left = records.states_of(every), {command_of(step) for step in steps if not step.cached}
    return [_one(record, states, left, home) for record in every]


def _one(record: Record, states: dict[str, str], left: set[str], home: Home) -> dict[str, Any]:
    log = record.log(home)
    state = states.get(record.job) or ("ended" if left & set(record.commands) else "done")
    words = records.last_words(log) if state == "ended" else ""
    return {**asdict(record), "state": state.lower(), "error": words, "log": str(log)}


def table(found: Sequence[dict[str, Any]]) -> RenderableType:
    """The jobs for a person."""
    lines = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name in ("job", "what", "state"):
        lines.add_column(name, overflow="fold")
    for one in found:
        style = {"done": "dim", "ended": "red"}.get(one["state"], "")
        lines.add_row(one["job"], one["title"], one["state"], style=style)
        if one["state"] == "ended":
            lines.add_row("", f"{one['error'] or 'no error in its log'} ({one['log']})", "", style=style)
    return lines
