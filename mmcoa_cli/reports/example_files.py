"""The example set that a picture is taken from: that of a result, or a file that somebody names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from store.datasets import Dataset
from store.errors import UserError
from store.examples import stored_set
from store.index import Index

from ..attacks import ATTACKS
from ..datasets.library import dataset_path, registered_datasets
from ..settings import Home
from ..tasks import TASKS

if TYPE_CHECKING:
    from store.schema import Result

KEY = re.compile(r"[0-9a-f]{4,40}")  # or its beginning
ENDING = ".h5"
LARGEST = 4096  # pixels of a side


@dataclass(frozen=True)
class Source:
    """An example set in a file, and what it was made of; `run` is empty where the index does not say."""

    path: Path
    attack: str
    task: str
    dataset: str
    split: str
    pixel_size: int | None
    run: str = ""

    @property
    def title(self) -> str:
        return f"{self.attack} attack on {self.dataset}" + (f", {self.run}" if self.run else "")


def examples_path(result: Result, home: Home) -> Path:
    """The file of the example set that a result was measured on."""
    return home.examples / f"{result.examples}{ENDING}"


def source_of(result: Result, home: Home) -> Source:
    """What a result was measured on."""
    setting = result.setting
    return Source(
        examples_path(result, home), result.attack, result.task, result.dataset, str(setting["split"]),
        setting.get("pixel_size"), result.run_id,
    )  # fmt: skip


def named(name: str, home: Home) -> Path | None:
    """The file of the example set that has this path, or whose key begins so; None where it names none.

    Raises UserError for a path where there is nothing, and for the beginning of several keys.
    """
    if name.endswith(ENDING):
        path = Path(name).expanduser()
        if not path.exists():
            raise UserError(f"there is no file {name}", hint="mmcoa attack prints where the examples lie")
        return path
    found = sorted(home.examples.glob(f"{name}*{ENDING}")) if KEY.fullmatch(name) else []
    if len(found) > 1:
        raise UserError(f"{len(found)} example sets have a key that begins with {name}", hint="type more of it")
    return found[0] if found else None


def source_in(path: Path, home: Home) -> Source:
    """What the file of an example set says that it was made of; the index knows of which run.

    Raises UserError for a damaged file, and where the attack, or the dataset, is not here.
    """
    spec = stored_set(path).spec
    try:
        attack, task, data = spec["attack"], spec.get("task", "classification"), spec["data"]
        checksum, split, pixel_size = (data[name] for name in ("checksum", "split", "pixel_size"))
        known, there = attack in ATTACKS, task in TASKS
        if not isinstance(pixel_size, int) or not 0 < pixel_size <= LARGEST:
            raise ValueError(f"images of {pixel_size} pixels")
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path} does not say what it was made of", hint="evaluate again") from error
    if not known or not there:
        raise UserError(f"{path} is of an attack or a task that is not here", hint="mmcoa list attacks")
    measured = [result for _, result in Index(home.database_url).results(examples=[path.stem])]
    run = measured[-1].run_id if measured else ""
    return Source(path, attack, task, _dataset_of(checksum, home), str(split), pixel_size, run)


def _dataset_of(checksum: object, home: Home) -> str:
    """The name of the dataset that has this checksum."""
    for name in registered_datasets(home):
        if Dataset.info_of(dataset_path(name, home)).checksum == checksum:
            return name
    raise UserError("no dataset in the store is the one of these examples", hint="mmcoa fetch DATASET")
