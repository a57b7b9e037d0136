"""Names that a shell completes: rows of the catalog, and what lies in the store. No file is opened but records.

A store that cannot be read has nothing to complete: the command that is typed will say why. What names are read from
is imported where they are asked for: most commands ask for few.
"""

from __future__ import annotations

from pathlib import Path

from store.errors import UserError

from .. import catalog
from ..settings import home

ALL = "all"  # a list of the catalog


def attacks() -> list[str]:
    from ..attacks import ATTACKS

    return [*ATTACKS]


def settings() -> list[str]:
    """The beginnings of what `-o` takes."""
    from ..attacks import base

    return [f"{name}=" for name in base.every_option()]


def training_options() -> list[str]:
    """Options that only some methods have."""
    from ..jobs.training_spec import options_of

    return [*dict.fromkeys(name for row in catalog.methods().values() for name in options_of(row))]


def training_settings() -> list[str]:
    """The beginnings of what `-o` takes in training."""
    return [f"{name}=" for name in training_options()]


def datasets() -> list[str]:
    """Of the catalog, and those registered under a name of their own."""
    return [*catalog.datasets(), *_registered()]


def models() -> list[str]:
    """CLIPs of the catalog and of the store."""
    return [*catalog.models(), *_recorded("clips")]


def mlms() -> list[str]:
    """Masked LMs of the catalog and of the store."""
    return [*catalog.mlms(), *_recorded("mlms")]


def reproducible() -> list[str]:
    """Tables and figures, and what stands for all of the paper's."""
    return [*(name for name, row in catalog.tables().items() if row.attacks), ALL]


def runs() -> list[str]:
    """Runs that have a checkpoint here."""
    return [path.name for path in _within("checkpoints", "[!.]*") if path.is_dir()]


def checkpoints() -> list[str]:
    """What can be tested: runs and models."""
    return [*runs(), *models()]


def shown() -> list[str]:
    """What there are pictures of: runs, and datasets of the store."""
    return [*runs(), *_registered()]


def stored() -> list[str]:
    """What lies in the store."""
    return [*_registered(), *_recorded("clips"), *_recorded("mlms"), *runs()]


def everything() -> list[str]:
    """What can be fetched."""
    return [*catalog.datasets(), *catalog.models(), *catalog.mlms()]


def _registered() -> list[str]:
    return [path.stem for path in _within("datasets", "[!.]*.h5")]


def _recorded(folder: str) -> list[str]:
    """The names that the models in a folder of the store were fetched by."""
    from ..models.origins import fetched_as

    return [fetched_as(path) for path in _within(folder, "[!.]*") if path.is_dir()]


def _within(folder: str, pattern: str) -> list[Path]:
    """What lies in this folder of `Home`."""
    try:
        place: Path = getattr(home(), folder)
        return sorted(place.glob(pattern))
    except (UserError, OSError):
        return []
