"""The commands that make the results of a report, in as few as there can be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from store.errors import UserError

from .. import catalog
from ..jobs.evaluation_spec import EvaluationSpec, evaluation_spec
from ..jobs.typed_jobs import command_of
from ..jobs.worker import Job
from ..reports.rows import Row
from .merging import merged
from .seen import settings_of


def made_by(rows: Sequence[Row]) -> list[str]:
    """What to type for these results; nothing for one that today's options do not make."""
    tests = [spec for row in rows for spec in _test_of(row)]
    return [command_of(Job(evaluate=spec)) for spec in merged(merged(tests), over="datasets")]


def _test_of(row: Row) -> Iterator[EvaluationSpec]:
    method, dataset = catalog.methods().get(row.method), catalog.datasets().get(row.dataset)
    checkpoint = row.run if row.source or (method and method.wrapper) else row.model
    other_size = dataset and row.pixel_size != dataset.pixel_size  # of one's own datasets the usual is not known
    where = {"task": row.task, "epoch": row.before_the_last, "pixel_size": row.pixel_size if other_size else None}
    try:
        yield evaluation_spec(checkpoint, (row.dataset,), (row.attack,), **where, **settings_of([row]))
    except UserError:  # an index from elsewhere
        return
