"""Where things live: the folders under MMCOA_HOME and the address of the index. Quick to import."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from rich.filesize import decimal

from store.errors import UserError

from .names import require_printable

if TYPE_CHECKING:
    from store.index import Index

ANOTHER = "set MMCOA_HOME to a folder you may write to"


@dataclass(frozen=True)
class Home:
    """The folders of one store. Asking for a path creates nothing."""

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

    @property
    def planned(self) -> Path:
        """What dry runs estimated, for the same commands when they are typed."""
        return self.runs / ".planned"

    @property
    def index_file(self) -> Path | None:
        """The file of the index, where it is one."""
        address, _, path = self.database_url.partition(":///")
        return Path(unquote(path.partition("?")[0])) if path and address.startswith("sqlite") else None

    def index_if_there(self) -> Index | None:
        """The index; None where there is no file of one yet, which opening it would begin."""
        from store.index import Index

        file = self.index_file
        return Index(self.database_url) if file is None or file.exists() else None


def home() -> Home:
    """The store that MMCOA_HOME and MMCOA_DATABASE_URL name (default: the platform's user data folder).

    Raises UserError where MMCOA_HOME cannot be a folder: it does not print, is a file, or is a link to nowhere.
    """
    named = os.environ.get("MMCOA_HOME", "")
    root = _expanded(require_printable(named, "MMCOA_HOME")) if named else _default()
    try:
        if not root.is_dir() and os.path.lexists(root):
            what = "a link to nothing" if root.is_symlink() else "no folder"
            raise UserError(f"cannot write to {root} (it is {what})", hint=ANOTHER)
    except OSError as error:
        raise UserError(f"cannot write to {root} ({error.strerror})", hint=ANOTHER) from None
    url = os.environ.get("MMCOA_DATABASE_URL")
    return Home(root, url or f"sqlite:///{_quoted(root / 'index.db')}")


def require_space(missing: int, *, folder: Path, name: str) -> None:
    """Raises UserError when the disk of `folder` has fewer than `missing` bytes left."""
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise UserError(
            f"{name} needs {decimal(missing)} more, and the disk has {decimal(free)} left",
            hint="free some space, or set MMCOA_HOME to a larger disk, and type the same command again",
        )


def _expanded(named: str) -> Path:
    try:
        return Path(named).expanduser().absolute()
    except RuntimeError as error:  # "~" where there is no such user
        raise UserError(f"MMCOA_HOME {named} leads nowhere ({error})", hint=ANOTHER) from None


def _default() -> Path:
    from platformdirs import user_data_path

    return user_data_path("mmcoa", appauthor=False).expanduser().absolute()


def _quoted(path: Path) -> str:
    """Write a path for a URL. Only what has a meaning there is quoted, so that messages stay readable."""
    return re.sub("[%?#]", lambda sign: f"%{ord(sign[0]):02X}", str(path))
