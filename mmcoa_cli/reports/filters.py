"""Which runs and results somebody wants to see."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from store.errors import UserError

from ..names import meant

if TYPE_CHECKING:
    from store.index import Index
    from store.schema import Run

    from .rows import Row

AGO = re.compile(r"(\d{1,5})([dh])")
Names = tuple[str, ...]


@dataclass(frozen=True)
class Filter:
    """The names that are wanted of each kind; none stands for any. `since` is a moment as the index writes it."""

    datasets: Names = ()
    checkpoints: Names = ()
    methods: Names = ()
    models: Names = ()
    since: str = ""

    def takes(self, one: Run | Row, *, run: str, datasets: Iterable[str]) -> bool:
        """Whether it is wanted: its run's id begins as one of `checkpoints`, or its model is one; and so on."""
        named = any(run.startswith(name) or one.model == name for name in self.checkpoints)
        return (
            (named or not self.checkpoints)
            and (not self.datasets or not set(self.datasets).isdisjoint(datasets))
            and one.method in (self.methods or (one.method,))
            and one.model in (self.models or (one.model,))
            and one.created_at >= self.since
        )

    @property
    def narrows(self) -> bool:
        """Whether it leaves anything out."""
        return self != Filter()

    def none_of(self, runs: Iterable[Run], *, datasets: Iterable[str]) -> UserError:
        """What to say where nothing is wanted of what there is: the first name that nothing has."""
        runs, there = list(runs), sorted(set(datasets))
        ids, models = [run.id for run in runs], [run.model for run in runs]
        known = (
            ("--dataset", self.datasets, there),
            ("--checkpoint", self.checkpoints, [*ids, *models]),
            ("--method", self.methods, [run.method for run in runs]),
            ("--model", self.models, models),
        )
        for option, names, found in known:
            for name in names:
                begins = option == "--checkpoint" and any(one.startswith(name) for one in ids)
                if name not in found and not begins:
                    hint = meant(name, found) or f"there are {', '.join(dict.fromkeys(found))}"
                    return UserError(f"the index holds nothing for {option} {name}", hint=hint)
        return UserError("the index holds nothing that is all of that", hint="leave out a filter; mmcoa runs lists all")


def chosen(rows: Sequence[Row], wanted: Filter, index: Index) -> list[Row]:
    """Those of `rows` that are wanted. Raises UserError where there is none."""
    found = [row for row in rows if wanted.takes(row, run=row.run, datasets=(row.dataset,))]
    if not found:
        raise wanted.none_of(index.runs(), datasets={row.dataset for row in rows})
    return found


def moment(text: str) -> str:
    """ "2026-11-25", "2026-11-25T14:00", "7d" or "12h" ago, as the index writes moments.

    Raises UserError for what is none; days and hours without a zone are those of this machine.
    """
    try:
        if ago := AGO.fullmatch(text.strip()):
            count = int(ago[1])
            found = datetime.now(UTC) - (timedelta(days=count) if ago[2] == "d" else timedelta(hours=count))
        else:
            found = datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise UserError(f"--since {text} is no day", hint="--since 2026-11-25, or --since 7d for a week") from None
    return found.isoformat(timespec="seconds")
