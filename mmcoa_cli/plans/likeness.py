"""What results and runs of the index have in common: the settings that further ones of their kind are made with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from .. import catalog
from ..attacks.base import ATTACKS, every_option, options_of
from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.training_spec import TrainSpec, stored_spec, train_spec
from ..jobs.training_spec import options_of as options_of_method
from ..reports.rows import Row

if TYPE_CHECKING:
    from store.schema import Run

ANY = ("seed", "precision", "compat")


def settings_of(rows: Sequence[Row], *, limit: bool = True) -> dict[str, Any]:
    """The options of `mmcoa evaluate` that `rows` were measured with; of several values the first, but of limits the
    one of most rows."""
    found: dict[str, Any] = {"limit": _limit_of(rows)} if limit else {}
    for row in rows:
        known = [row.attack] if row.attack in ATTACKS else []  # one of a plugin may not be here
        for name in (*ANY, *options_of(known)):
            value = row.get(name)
            if value is not None:
                found.setdefault(name, value)
    return found


def _limit_of(rows: Sequence[Row]) -> int | None:
    limits = sorted({row.limit for row in rows if row.limit is not None})
    of_rows = [next((n for n in limits if row.n <= n), None) for row in rows]  # a small test set is its own subset
    return Counter(of_rows).most_common(1)[0][0]


def in_common(like: Sequence[Run], method: str, **options: Any) -> TrainSpec:
    """A run of `method` with the settings in which all runs `like` it differ from the usual."""
    told = [_unusual(run) for run in like]
    alike = {
        name: value for name, value in (told[0] if told else {}).items() if all(o.get(name) == value for o in told)
    }
    row = catalog.methods()[method]
    own = {*TrainSpec.__dataclass_fields__, *options_of_method(row), *every_option()}
    return train_spec(method, **{**{name: value for name, value in alike.items() if name in own}, **options})


@cache
def _unusual(run: Run) -> dict[str, Any]:
    try:
        spec = stored_spec(run.method, run.spec)
    except UserError:  # of another version
        return {}
    return {"mlm": spec.mlm, "compat": spec.compat, **spec.unusual(), **spec.options}  # some are of its test alone


def merged(tests: Sequence[tuple[str, EvaluationSpec]]) -> list[tuple[str, EvaluationSpec]]:
    """Tests in few commands: those of one checkpoint whose settings agree and that differ only in their attacks, or
    only in their datasets, are one."""
    found: list[tuple[str, EvaluationSpec]] = []
    for run, new in tests:
        for number, (of, old) in enumerate(found):
            if old.checkpoint == new.checkpoint and _agree(old, new):
                found[number] = (of, _both(old, new))
                break
        else:
            found.append((run, new))
    return found


def _both(old: EvaluationSpec, new: EvaluationSpec) -> EvaluationSpec:
    return old.changed(
        datasets=tuple(dict.fromkeys((*old.datasets, *new.datasets))),
        attacks=tuple(dict.fromkeys((*old.attacks, *new.attacks))),
        mlm=old.mlm if old.takes_words else new.mlm,
        **new.options,
    )


def _agree(one: EvaluationSpec, other: EvaluationSpec) -> bool:
    same = one.datasets == other.datasets or one.attacks == other.attacks
    alike = all(getattr(one, name) == getattr(other, name) for name in (*ANY, "limit", "pixel_size"))
    words = not (one.takes_words and other.takes_words) or one.mlm == other.mlm
    common = [part for part in one.parts if part in other.parts]
    return same and alike and words and all(one.settings(part) == other.settings(part) for part in common)
