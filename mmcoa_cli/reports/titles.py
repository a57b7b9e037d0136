"""What a report is called: the table or figure, and what was trained and tested of that which it shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..catalog import TableRow
from .pivot import Panel
from .rows import Row
from .threats import attack_name

MOST = 3  # datasets that a title names; of more it has the number
ZERO_SHOT = "zero-shot"


def title_of(table: TableRow, panels: Sequence[Panel]) -> str:
    """The title of these panels of a table. One that is not about training says where nothing shown was trained."""
    rows = [row for panel in panels for row in panel.rows]
    words = {
        "same": _same(rows),
        "trained": _trained(rows),
        "under": _listed(dict.fromkeys(_measured(panel) for panel in panels)),
        **_datasets(panels),
    }
    title = table.heading.format_map(words) if table.heading else table.title
    title = title[:1].upper() + title[1:]
    tells = "{same}" in table.heading or "{trained}" in table.heading or not table.sources
    return title if tells or any(row.source for row in rows) else f"{title} ({ZERO_SHOT} only)"


def closing(table: TableRow) -> TableRow:
    """The table for results that a command ends with, which are no table of the paper: without its number."""
    title, heading = (told.partition(": ")[2] or told for told in (table.title, table.heading))
    return replace(table, title=title, heading=heading)


def _same(rows: Sequence[Row]) -> str:
    """Of models that are tested on what they were trained on, and only of these, that they are."""
    datasets = dict.fromkeys(row.dataset for row in rows)
    trained = {row.source for row in rows} - {""}
    if not trained or any(row.source not in ("", row.dataset) for row in rows):
        return f"evaluated on {_counted(datasets)}"
    where = next(iter(datasets)) if len(datasets) == 1 else "the same dataset"
    beside = "" if all(row.source for row in rows) else f"{ZERO_SHOT}, or "
    return f"{beside}trained and tested on {where}"


def _trained(rows: Sequence[Row]) -> str:
    sources = dict.fromkeys(row.source for row in rows)
    trained = [f"trained on {_counted(name for name in sources if name)}"] if any(sources) else []
    return " and ".join([*([ZERO_SHOT] if "" in sources else []), *trained])


def _datasets(panels: Sequence[Panel]) -> dict[str, str]:
    """Those that are tested on: of averages, how many each is over."""
    every = dict.fromkeys(row.dataset for panel in panels for row in panel.rows)
    over = sorted({len(panel.datasets) for panel in panels if panel.datasets})
    averaged = f"{over[0]} to {over[-1]} datasets" if len(over) > 1 else _counted(panels[0].datasets or every)
    each = _counted(every) if len(every) == 1 else f"each of {_counted(every)}"
    return {"tested": _counted(every), "each": each, "averaged": averaged}


def _measured(panel: Panel) -> str:
    """ "clean accuracy", "multimodal attack"."""
    attacked = [row for row in panel.rows if row.threat.parts]
    return attack_name(attacked[0].attack) if attacked else panel.metric


def _counted(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(names))
    return _listed(found) if len(found) <= MOST else f"{len(found)} datasets"


def _listed(names: Iterable[str]) -> str:
    """ "cifar10, cifar100 and stl10"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
