"""What `mmcoa bench` does with what was typed."""

from __future__ import annotations

from store.benches import Benches

from ..settings import home
from ..terminal.console import out, print_json
from .asked import Asked
from .report import Report, compared, earlier, of_measures
from .table import listing, table


def bench(asked: Asked, *, compare: str | None, as_json: bool) -> None:
    """Measure, and print what was found. Raises UserError for an earlier bench that is not there, before measuring."""
    then = earlier(compare, home(), model=asked.model) if compare is not None else None

    def show(report: Report) -> None:
        found = compared(report, then) if then else None
        if as_json:
            print_json({**report.document(), **({"compare": found.document()} if found else {})})
        else:
            out.print(table(report, found))

    from .running import measure

    measure(asked, home(), show=show)


def show_list(*, as_json: bool) -> None:
    """Print the benches of the index."""
    rows: dict[str, list[object]] = {}
    for one in Benches(home().database_url).every():
        rows.setdefault(one.bench, []).append(one)
    reports = [of_measures(some) for some in rows.values()]
    print_json({"benches": [report.document() for report in reports]}) if as_json else out.print(listing(reports))
