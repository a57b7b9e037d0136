"""Names that a shell completes: rows of the catalog, and what lies in the store. No file is opened but records."""

from __future__ import annotations

from pathlib import Path

from .. import catalog
from ..attacks import ATTACKS
from ..models.origins import read_record
from ..settings import home


def attacks() -> list[str]:
    return [*ATTACKS]


def datasets() -> list[str]:
    """Of the catalog, and those registered under a name of their own."""
    return [*catalog.datasets(), *(file.stem for file in _files())]


def models() -> list[str]:
    """CLIPs of the catalog and of the store."""
    return [*catalog.models(), *_recorded(home().clips)]


def mlms() -> list[str]:
    """Masked LMs of the catalog and of the store."""
    return [*catalog.mlms(), *_recorded(home().mlms)]


def runs() -> list[str]:
    """Runs that have a checkpoint here."""
    return [path.name for path in _folders(home().checkpoints)]


def checkpoints() -> list[str]:
    """What can be tested: runs and models."""
    return [*runs(), *models()]


def stored() -> list[str]:
    """What lies in the store."""
    return [*(file.stem for file in _files()), *_recorded(home().clips), *_recorded(home().mlms), *runs()]


def everything() -> list[str]:
    """What can be fetched."""
    return [*catalog.datasets(), *catalog.models(), *catalog.mlms()]


def _recorded(folder: Path) -> list[str]:
    """The names that the models in `folder` were fetched by."""
    return [read_record(path).name or path.name for path in _folders(folder)]


def _files() -> list[Path]:
    return sorted(home().datasets.glob("*.h5"))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[!.]*") if path.is_dir())
