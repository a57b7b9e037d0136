"""Options of `train` of which several make a grid: a run is trained for each combination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated, Any

import typer

from store.errors import UserError

from .. import catalog
from ..jobs.training_spec import DEFAULT_DATASET, DEFAULT_MODEL
from ..terminal import choices as c
from ..terminal.options_file import option
from . import known
from .options import settings, training

AXES = ("dataset", "model", "method", "shots", "lr", "seed")  # the last changes first
MOST = 1000  # runs
METHODS, DATASETS = c.Names(("mmcoa",)), c.Names((DEFAULT_DATASET,))
MODELS, SHOTS, SEEDS = c.Names((DEFAULT_MODEL,)), c.Names(("full",)), c.Numbers((0,))


def _lower(text: str | c.Names) -> c.Names:
    return c.Names(name.lower() for name in c.names(text))


Methods = Annotated[
    c.Names,
    typer.Option(
        "--method", help=f"Train with this method: {c.listed(catalog.methods)}. Of several, each takes the options that"
        " it has; one that none has is refused.",
        **c.choices(catalog.methods, "METHOD,..."),
    ),
]  # fmt: skip
Datasets = Annotated[
    c.Names,
    typer.Option(
        "--dataset", metavar="NAME,...", help="Train on this dataset, and test on it.", parser=c.names,
        autocompletion=c.several(known.datasets),
    ),
]  # fmt: skip
Models = Annotated[
    c.Names,
    typer.Option(
        "--model", metavar="NAME,...", parser=c.names, autocompletion=c.several(known.models),
        help="Start from this CLIP: a name, ARCH:TAG, hf-hub:ORG/NAME, or one you fetched.",
    ),
]  # fmt: skip
Shots = Annotated[
    c.Names, typer.Option(metavar="N|full,...", help="Train on N images of each class, or on all.", parser=_lower)
]
Rates = Annotated[
    c.Rates | None,
    training(
        "--lr", metavar="RATE,...", help="Train with this learning rate.", parser=c.rates,
        show_default="the method's in the paper",
    ),
]  # fmt: skip
Seeds = Annotated[
    c.Numbers, settings("--seed", metavar="N,...", help="Draw everything random from this seed.", parser=c.numbers)
]
Config = Annotated[Path | None, option(known.training_options)]


def cells(chosen: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each combination of what was chosen for the axes, with the other options. Raises UserError for too many."""
    axes = {name: dict.fromkeys(chosen[name]) for name in AXES if chosen.get(name) is not None}
    count = prod(map(len, axes.values()))
    if count > MOST:
        raise UserError(f"these are {count:,} runs", hint=f"give fewer of each; one command takes at most {MOST:,}")
    for values in product(*axes.values()):
        yield {**chosen, **dict(zip(axes, values, strict=True))}
