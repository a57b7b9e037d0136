"""Where things live: the folders under MMCOA_HOME and the address of the index. No heavy imports here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The folders of one store; nothing is created by asking for a path."""

    root: Path
    database_url: str

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def mlms(self) -> Path:
        return self.root / "models" / "mlm"

    @property
    def clips(self) -> Path:
        return self.root / "models" / "clip"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def examples(self) -> Path:
        return self.root / "examples"

    @property
    def runs(self) -> Path:
        return self.root / "runs"


def home() -> Home:
    """The store that MMCOA_HOME and MMCOA_DATABASE_URL name (default: the platform's user data folder)."""
    from platformdirs import user_data_path

    root = Path(os.environ.get("MMCOA_HOME") or user_data_path("mmcoa", appauthor=False)).expanduser().absolute()
    return Home(root, os.environ.get("MMCOA_DATABASE_URL") or f"sqlite:///{root / 'index.db'}")
