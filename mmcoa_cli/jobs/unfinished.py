"""Which command makes an example set, remembered until it is whole: what was interrupted can be typed again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from store.files import replacing

from ..settings import Home
from .job import Job, command_of

if TYPE_CHECKING:
    from .trials import Trial

LARGEST = 10_000  # bytes of a command


def remember(trial: Trial, attack: str) -> None:
    """Keep what makes this set; nothing for one that a training run makes on its way."""
    if trial.split != "test":
        return
    run = trial.subject.run
    checkpoint = run.model if (run.kind, run.method) == ("zero-shot", "clip") else run.id
    spec = trial.spec.changed(checkpoint=checkpoint, datasets=(trial.dataset.info.name,), attacks=(attack,))
    with replacing(_place(trial.examples(attack).key, trial.home)) as partial:
        partial.write_text(command_of(Job(evaluate=spec)), encoding="utf8")


def forget(key: str, home: Home) -> None:
    """The set is whole."""
    _place(key, home).unlink(missing_ok=True)


def command_for(key: str, home: Home) -> str:
    """What to type for a set that is not whole; empty where that is not known. What stands there may be of anybody: it
    is one command of this program, in quotes where a shell would make more of it."""
    place = _place(key, home)
    try:
        words = shlex.split(place.read_text(encoding="utf8")) if place.stat().st_size <= LARGEST else []
    except (OSError, ValueError):
        return ""
    return shlex.join(words) if words[:2] == ["mmcoa", "evaluate"] else ""


def _place(key: str, home: Home) -> Path:
    return home.runs / ".unfinished-examples" / key
