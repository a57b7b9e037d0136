"""The catalog: datasets, models, methods and tasks as rows of data, and the paper's 611 numbers.

Adding a dataset, a model or a method's defaults means adding a row to a TOML file here; no code looks at a name.
Keys that a row leaves out have the defaults of the dataclass.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from store.errors import UserError

TEMPLATE = "This is a photo of a {}"  # the paper's class prompt: capital T, no full stop, the article always "a"


@dataclass(frozen=True)
class Source:
    """One archive a dataset can be downloaded from."""

    url: str
    md5: str
    bytes: int


@dataclass(frozen=True)
class DatasetRow:
    """A dataset. `reader` names the function in `datasets/readers.py` that reads its own archive.

    Image sizes are in pixels: images are attacked at `pixel_size` squared (their native size where it is fixed, else
    after Resize(`resize`) + CenterCrop(`pixel_size`)), before the resize to the encoder's input.
    """

    name: str
    class_names: tuple[str, ...] = ()
    splits: Mapping[str, int] = field(default_factory=dict)
    pixel_size: int = 224
    resize: int | None = None
    template: str = TEMPLATE
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reader: str = ""
    sources: tuple[Source, ...] = ()
    bytes: int = 0
    embedded: bool = False
    licence: str = ""
    citation: str = ""


@dataclass(frozen=True)
class ModelRow:
    """A CLIP model: an open_clip architecture with a pretrained tag, or an embedded stand-in trained on the spot."""

    name: str
    architecture: str = ""
    pretrained: str = ""
    config: str = ""  # a JSON file beside the catalog: the architecture of an embedded stand-in
    trained_on: str = ""  # the dataset an embedded stand-in is trained on
    epochs: int = 0
    embedded: bool = False
    stand_in: bool = False


@dataclass(frozen=True)
class MlmRow:
    """A masked language model: a Hugging Face name with a pinned revision, or an embedded stand-in."""

    name: str
    repository: str = ""
    revision: str = ""
    embedded: bool = False
    stand_in: bool = False


@dataclass(frozen=True)
class MethodRow:
    """A defence. `loss` names the function in `methods/`; empty for zero-shot. Defaults are the paper's."""

    name: str
    title: str = ""
    loss: str = ""
    attacks: tuple[str, ...] = ()  # the attacks that training runs at every step
    lr: float = 1e-6
    epochs: int = 10
    batch_size: int = 128


@dataclass(frozen=True)
class TaskRow:
    """A task of the paper: which attacks its table has as columns, and which table of the paper it is."""

    name: str
    title: str = ""
    attacks: tuple[str, ...] = ()
    paper_table: str = ""


@dataclass(frozen=True)
class ReproductionRow:
    """A table or figure of the paper: what must be trained and tested for it, and the report that shows it.

    Every method is trained on each of `trained_on` at each of the `shots`, and tested on `tested_on` (empty: on what it
    was trained on); a method that trains nothing is tested once.
    """

    name: str
    title: str = ""
    task: str = ""  # of `mmcoa report`
    report_attack: str = ""  # the attack that the report is narrowed to, empty for all
    trained_on: tuple[str, ...] = ()
    shots: tuple[str, ...] = ("full",)
    tested_on: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("clip", "ft-standard", "tecoa", "mmcoa")
    attacks: tuple[str, ...] = ("clean", "image", "text", "multimodal")


@dataclass(frozen=True)
class PaperNumber:
    """One number the paper prints; `value` is a fraction in [0, 1] for accuracies and recalls, else as printed."""

    table: str
    task: str
    source: str
    shots: str
    method: str
    dataset: str
    attack: str
    metric: str
    value: float


Row = TypeVar("Row", DatasetRow, ModelRow, MlmRow, MethodRow, TaskRow, ReproductionRow)
_FOLDER = Path(__file__).parent


@cache
def datasets() -> dict[str, DatasetRow]:
    return _rows(DatasetRow, "datasets.toml", "dataset")


@cache
def models() -> dict[str, ModelRow]:
    return _rows(ModelRow, "models.toml", "clip")


@cache
def mlms() -> dict[str, MlmRow]:
    return _rows(MlmRow, "models.toml", "mlm")


@cache
def methods() -> dict[str, MethodRow]:
    return _rows(MethodRow, "methods.toml", "method")


@cache
def tasks() -> dict[str, TaskRow]:
    return _rows(TaskRow, "tasks.toml", "task")


@cache
def reproductions() -> dict[str, ReproductionRow]:
    return _rows(ReproductionRow, "reproductions.toml", "reproduction")


@cache
def paper() -> tuple[PaperNumber, ...]:
    """Every number of the paper (arXiv 2404.19287), with accuracies and recalls as fractions."""
    with (_FOLDER / "paper.csv").open(newline="", encoding="utf8") as file:
        return tuple(_paper_number(row) for row in csv.DictReader(file))


def lookup(rows: Mapping[str, Row], name: str, kind: str) -> Row:
    """The row called `name`. Raises UserError naming the closest rows."""
    if name in rows:
        return rows[name]
    close = get_close_matches(name.lower(), rows, n=3, cutoff=0.4)
    raise UserError(
        f"there is no {kind} called {name!r}",
        hint=f"did you mean {' or '.join(close)}?" if close else f"choose one of {', '.join(rows)}",
    )


def file(name: str) -> Path:
    """The path of a data file beside the catalog."""
    return _FOLDER / name


def _rows(kind: type[Row], file_name: str, table: str) -> dict[str, Row]:
    document = tomllib.loads((_FOLDER / file_name).read_text(encoding="utf8"))
    return {name: _row(kind, name, values) for name, values in document[table].items()}


def _row(kind: type[Row], name: str, values: dict[str, Any]) -> Row:
    unknown = set(values) - {f.name for f in fields(kind)}
    if unknown:
        raise ValueError(f"{name}: the catalog knows no {', '.join(sorted(unknown))}")
    return kind(name=name, **{key: _frozen(key, value) for key, value in values.items()})


def _frozen(key: str, value: Any) -> Any:
    if key == "sources":
        return tuple(Source(**source) for source in value)
    if isinstance(value, list):
        return tuple(value)
    if key == "synonyms":
        return {name: tuple(words) for name, words in value.items()}
    return value


def _paper_number(row: dict[str, str]) -> PaperNumber:
    percent = row["metric"] == "accuracy" or ("@" in row["metric"] and not row["metric"].startswith("minutes"))
    value = round(float(row.pop("value")) / 100, 6) if percent else float(row.pop("value"))
    return PaperNumber(**row, value=value)
