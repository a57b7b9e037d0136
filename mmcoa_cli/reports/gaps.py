"""Commands that fill what an index lacks, with the settings of what it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ..attacks.settings import default_alpha
from ..jobs.specs import EvaluationSpec
from ..jobs.training_spec import stored_options, train_spec
from ..jobs.used import IMAGE, TEXT, unused_in_test, unused_in_training
from ..terminal.typed import changed, typed
from .rows import Row

if TYPE_CHECKING:
    from store.schema import Run

ANY = ("seed", "precision", "compat")
TRAINING = ("mlm", "epochs", "batch_size", "lr", "eps", "alpha", "steps", "tune", "contrast", "compat", "precision")


@dataclass(frozen=True)
class Gap:
    """Evaluations that one command makes: what `checkpoint` names, on datasets, under attacks, with settings."""

    run: str
    checkpoint: str
    datasets: tuple[str, ...]
    attacks: tuple[str, ...]
    settings: Mapping[str, Any]

    @property
    def command(self) -> str:
        defaults = asdict(EvaluationSpec(self.checkpoint, self.datasets))
        ball = {name: self.settings.get(name, defaults[name]) for name in ("norm", "eps", "steps")}
        defaults["alpha"] = default_alpha(**ball)
        named = {"checkpoint": self.checkpoint, "dataset": ",".join(self.datasets), "attack": ",".join(self.attacks)}
        unused = unused_in_test(self.attacks)
        settings = {name: value for name, value in self.settings.items() if name not in unused}
        return typed("evaluate", {**named, **changed(settings, defaults)})


def settings_of(rows: Sequence[Row]) -> dict[str, Any]:
    """The options of `mmcoa evaluate` that `rows` were measured with; of several values the first, but of limits the
    one of most rows."""
    limits = sorted({row.limit for row in rows if row.limit is not None})
    of_rows = [next((n for n in limits if row.n <= n), None) for row in rows]  # a small test set is its own subset
    found: dict[str, Any] = {"limit": Counter(of_rows).most_common(1)[0][0]}
    for row in rows:
        for name in (*ANY, *(IMAGE if row.norm is not None else ()), *(TEXT if row.mlm is not None else ())):
            found.setdefault(name, getattr(row, name))
    return found


def gap(row: Row, datasets: Iterable[str], attacks: Iterable[str], settings: Mapping[str, Any]) -> Gap:
    """For the run of `row`; a model as it comes is named by its own name."""
    checkpoint = row.run if row.source else row.model
    return Gap(row.run, checkpoint, tuple(datasets), tuple(attacks), settings)


def merged(gaps: Sequence[Gap]) -> list[Gap]:
    """`gaps` in few commands: those of one checkpoint whose settings agree and that differ only in their attacks, or
    only in their datasets, are one."""
    found: list[Gap] = []
    for new in gaps:
        for number, old in enumerate(found):
            if old.checkpoint == new.checkpoint and _agree(old, new):
                found[number] = replace(
                    old,
                    datasets=tuple(dict.fromkeys((*old.datasets, *new.datasets))),
                    attacks=tuple(dict.fromkeys((*old.attacks, *new.attacks))),
                    settings={**old.settings, **new.settings},
                )
                break
        else:
            found.append(new)
    return found


def training_command(method: str, *, source: str, shots: str, model: str, like: Sequence[Run]) -> str:
    """The command that trains what is not there, with the settings in which all of `like` differ from the defaults."""
    specs = [stored_options(run.spec) for run in like]
    alike = {name: specs[0][name] for name in TRAINING if specs and all(_has(spec, name, specs[0]) for spec in specs)}
    unused = unused_in_training(method, tested=True)
    alike = {name: value for name, value in alike.items() if name not in unused}
    usual = train_spec(method, dataset=source).document()
    named = {"method": method, "dataset": source, "shots": shots}
    return typed("train", {**named, **changed({"model": model, **alike}, usual)})


def _agree(one: Gap, other: Gap) -> bool:
    same = one.datasets == other.datasets or one.attacks == other.attacks
    common = set(one.settings) & set(other.settings)
    return same and all(one.settings[name] == other.settings[name] for name in common)


def _has(spec: Mapping[str, Any], name: str, first: Mapping[str, Any]) -> bool:
    return name in spec and name in first and spec[name] == first[name]
