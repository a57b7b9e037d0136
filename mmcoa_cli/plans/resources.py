"""What work takes: seconds, memory at its peak, and bytes on disk; as it was planned, and beside that as it was."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.files import replacing
from store.index import Index
from store.keys import key_of

from ..attacks.base import with_needs
from ..jobs.job import Job, Outcome
from ..processes import of_their_own
from ..settings import Home
from ..space import size
from ..terminal.durations import closely, duration

if TYPE_CHECKING:
    from ..jobs.trials import Trial


@dataclass(frozen=True)
class Resources:
    """None for what is not known, or nobody counts."""

    seconds: float | None = None
    memory: float | None = None
    bytes: float | None = None

    def words(self, *, exact: bool = False) -> str:
        """What is known: "12 min, 1.3 GB on disk, 1.2 GB of memory"."""
        time = closely if exact else duration
        parts = [time(self.seconds)] if self.seconds is not None else []
        parts += [f"{size(self.bytes)} on disk"] if self.bytes is not None else []
        return ", ".join([*parts, *([f"{size(self.memory)} of memory"] if self.memory else [])])

    def document(self) -> dict[str, int | None]:
        """As JSON has it."""
        return {name: None if value is None else round(value) for name, value in asdict(self).items()}


UNKNOWN = Resources()


def total(every: Iterable[Resources]) -> Resources:
    """Of work that is done one behind the other; what is not known of a part is not known of the whole."""
    parts = list(every)

    def of(name: str, together: Callable[[list[float]], float]) -> float | None:
        found = [getattr(part, name) for part in parts]
        return None if None in found else together([0.0, *found])

    return Resources(of("seconds", sum), of("memory", max), of("bytes", sum))


def total_at_once(every: Iterable[Resources], at_once: int) -> Resources:
    """Of work of which so many parts are done `at_once`, in this order. Parts on devices of their own do not slow each
    other; those that share one have their memory together, and are no quicker than one behind the other."""
    parts = list(every)
    whole, devices = total(parts), of_their_own(at_once)
    if whole.seconds is not None:
        busy = [0.0] * devices
        for part in parts:
            busy[busy.index(min(busy))] += part.seconds or 0.0
        whole = replace(whole, seconds=max(busy))
    if whole.memory is not None:
        largest = sorted((part.memory or 0.0 for part in parts), reverse=True)
        whole = replace(whole, memory=sum(largest[: math.ceil(at_once / devices)]))
    return whole


def measured_on(device: str, at_once: int) -> str:
    """How an estimate was come by, in words."""
    found, devices = f"estimated from a short measurement on this {device}", of_their_own(at_once)
    if devices > 1:
        return f"{found}; {at_once} at once on {devices} devices"
    shared = f"; {at_once} at once share this machine, and are counted one behind the other"
    return found + (shared if at_once > 1 else "")


def took_and_planned(took: Resources, planned: Resources) -> str:
    """ "took 12 min, 1.3 GB on disk; planned: 10 min, 1.1 GB on disk"."""
    told = planned.words()
    return f"took {took.words(exact=True)}{f'; planned: {told}' if told else ''}"


def used_by(job: Job, outcome: Outcome, home: Home, *, began: float, seconds: float) -> Resources:
    """What a job took that began at this moment (of `time.time`), by what it left on disk."""
    files = [path.stat() for path in _written(job, outcome, home) if path.is_file()]
    return Resources(seconds, outcome.memory or None, sum(one.st_size for one in files if one.st_mtime >= began))


def _written(job: Job, outcome: Outcome, home: Home) -> Iterator[Path]:
    """The files that a job may have left: of its run, of the images it attacked before, and of its tests."""
    from ..datasets.library import open_classes
    from ..jobs.known import Known
    from ..jobs.trials import before_training

    index = Index(home.database_url)
    trials: list[Trial] = []
    run = index.run(outcome.run) if outcome.run else None
    if run and job.train and job.train.row.loss:
        yield from (home.checkpoints / run.id).rglob("*")
        before = before_training(job.train, run, open_classes(job.train.dataset, home), home)
        trials += [before] if before else []
    elif found := index.results(evaluations=outcome.evaluations[:1]):
        run = found[0][0]
    for test in job.tests:
        trials += Known(home).trials(run, test) if run else []
    for trial in trials:
        yield from (trial.examples(attack.name).path for attack in with_needs(trial.spec.attacks))


def remember(command: str, takes: Resources, home: Home) -> None:
    """Keep what a command was estimated to take, until it is typed."""
    with replacing(_place(command, home)) as partial:
        partial.write_text(json.dumps(takes.document()), encoding="utf8")


def recalled(command: str, home: Home) -> Resources:
    """That, once: where work goes on after an interruption, the rest of it was not estimated."""
    place = _place(command, home)
    try:
        found: dict[str, Any] = json.loads(place.read_text(encoding="utf8"))
        numbers = {name: found[name] for name in asdict(Resources()) if isinstance(found[name], int)}
    except (OSError, ValueError, TypeError, LookupError):
        return Resources()
    with suppress(OSError):
        place.unlink()
    return Resources(**numbers)


def _place(command: str, home: Home) -> Path:
    return home.planned / f"{key_of(command)}.json"
