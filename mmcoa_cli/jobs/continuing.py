"""Go on with a run (`mmcoa train --resume RUN`) as it was begun, and in no other way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from store.errors import UserError
from store.index import Index

from ..models.runs import NO_RUN
from ..settings import Home
from ..terminal.checks import positive
from .job import command_of_training
from .training_spec import TrainSpec, stored_spec

# the parts of a run's identity in words, for a run whose parts are no longer what they were
PARTS = {
    "weights": "the model",
    "data": "the dataset",
    "prompts": "the class prompts",
    "indices": "the training images",
    "text_attack": "the masked LM",
    "version": "the version of mmcoa",
}


def spec_to_go_on_with(run: str, home: Home, *, epochs: int | None = None) -> tuple[str, TrainSpec]:
    """The id and specification of a run in the index, with more `epochs` where they are given.

    Raises UserError when there is no such run, and for fewer epochs than it has.
    """
    found = Index(home.database_url).find_run(run, otherwise=NO_RUN, kinds=("train",))
    if found.kind != "train":
        raise UserError(f"{found.id} was not trained", hint="mmcoa train --method mmcoa")
    spec = stored_spec(found.method, found.spec)
    if epochs is None:
        return found.id, spec
    positive("--epochs", epochs)
    schedule = spec.optimization.schedule
    bound = f"the stages of its recipe {spec.recipe} end with the last" if spec.recipe else ""
    bound = f"its learning rate falls as a {schedule} until the last" if schedule != "constant" else bound
    if epochs < spec.epochs or (bound and epochs > spec.epochs):
        why = "" if epochs < spec.epochs else f", because {bound}"
        raise UserError(
            f"run {found.id} has {spec.epochs} epochs: it cannot go on to {epochs}{why}",
            hint=command_of_training(replace(spec, epochs=epochs)),
        )
    return found.id, replace(spec, epochs=epochs)


def require_continuable(resumed: str, run: str, identity: Mapping[str, Any], home: Home) -> None:
    """Raises UserError unless the run `resumed` was begun with all that decides the weights of `run`, but for epochs.

    Otherwise its model, data or masked LM was replaced since, and other weights would come out.
    """
    if resumed == run:
        return
    began, now = _identity_of(resumed, home), json.loads(json.dumps(identity))
    differing = [name for name in now if _without_epochs(began.get(name)) != _without_epochs(now[name])]
    if differing:
        told = ", ".join(dict.fromkeys(PARTS.get(name, name) for name in differing))
        raise UserError(
            f"run {resumed} cannot go on: {told} changed since it began",
            hint="without --resume the same options train a new run; mmcoa train --help",
        )


def _identity_of(run: str, home: Home) -> dict[str, Any]:
    """Read what the run was begun with from runs/RUN/run.json; nothing where that cannot be read."""
    try:
        identity = json.loads((home.runs / run / "run.json").read_text(encoding="utf8"))["identity"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return identity if isinstance(identity, dict) else {}


def _without_epochs(part: Any) -> Any:
    return {name: value for name, value in part.items() if name != "epochs"} if isinstance(part, dict) else part
