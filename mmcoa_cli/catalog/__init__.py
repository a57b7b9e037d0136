"""The catalog: datasets, models, methods and tables as rows of data, and the paper's 611 numbers.

Adding a dataset, a model or a method's defaults means adding a row to a TOML file here; no code looks at a name. The
names of many classes stand in a file of their own, `classes/DATASET.tsv`.
Keys that a row leaves out have the defaults of the dataclass.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from store.errors import UserError

from ..names import meant
from .rows import AS_MANY as AS_MANY
from .rows import OURS as OURS
from .rows import PAPER as PAPER
from .rows import RELEASE as RELEASE
from .rows import TEMPLATE as TEMPLATE
from .rows import Archive as Archive
from .rows import DatasetRow as DatasetRow
from .rows import Kind as Kind
from .rows import MethodRow as MethodRow
from .rows import MlmRow as MlmRow
from .rows import ModelRow as ModelRow
from .rows import OptimizerRow as OptimizerRow
from .rows import PaperNumber as PaperNumber
from .rows import Source as Source
from .rows import SwitchRow as SwitchRow
from .rows import Torchvision as Torchvision
from .tables import AXES as AXES
from .tables import Cell as Cell
from .tables import PaperSettings
from .tables import TableRow as TableRow

Row = TypeVar("Row", DatasetRow, ModelRow, MlmRow, MethodRow, TableRow)
T = TypeVar("T")
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
    return methods_in((_FOLDER / "methods.toml").read_text(encoding="utf8"))


def methods_in(text: str) -> dict[str, MethodRow]:
    """The methods in a text as `methods.toml` has them: a plugin's own."""
    return {name: _row(MethodRow, name, values) for name, values in tomllib.loads(text)["method"].items()}


@cache
def attacks_in_every_identity() -> tuple[str, ...]:
    """The attacks that every run's identity names, whether it trains with them or not."""
    return tuple(_document("methods.toml")["in_every_identity"])


@cache
def tables() -> dict[str, TableRow]:
    return _rows(TableRow, "tables.toml", "table")


@cache
def lists() -> dict[str, tuple[str, ...]]:
    """What a grid calls by a name: lists of methods, datasets or anything else."""
    return {name: tuple(values) for name, values in _document("tables.toml")["lists"].items()}


@cache
def paper_settings() -> PaperSettings:
    found = _document("tables.toml")["paper"]
    return PaperSettings(**{**found, "models": tuple(found["models"])})


@cache
def paper() -> tuple[PaperNumber, ...]:
    """Every number of the paper (arXiv 2404.19287), with accuracies and recalls as fractions."""
    with (_FOLDER / "paper.csv").open(newline="", encoding="utf8") as file:
        names, *rows = csv.reader(file)
    return tuple(_paper_number(dict(zip(names, row, strict=True))) for row in rows)


@cache
def switches() -> dict[str, SwitchRow]:
    """What the paper's released code does otherwise than we do: what can be turned on one by one."""
    return rows_in(SwitchRow, "switches.toml", "switch")


def rows_in(kind: type[T], file_name: str, table: str) -> dict[str, T]:
    """The rows of another file beside the catalog."""
    return {name: _row(kind, name, values) for name, values in _document(file_name)[table].items()}


def lookup(rows: Mapping[str, T], name: str, kind: str) -> T:
    """The row called `name`. Raises UserError naming the closest rows."""
    if name in rows:
        return rows[name]
    raise UserError(f"there is no {kind} called {name!r}", hint=meant(name, rows) or f"choose one of {', '.join(rows)}")


def file(name: str) -> Path:
    """The path of a data file beside the catalog."""
    return _FOLDER / name


@cache  # some files hold several things
def _document(file_name: str) -> dict[str, Any]:
    return tomllib.loads((_FOLDER / file_name).read_text(encoding="utf8"))


def _rows(kind: type[Row], file_name: str, table: str) -> dict[str, Row]:
    rows = _document(file_name)[table]
    more = _classes if kind is DatasetRow else lambda _: {}
    return {name: _row(kind, name, {**more(name), **_whole(rows, name)}) for name in rows}


def _whole(rows: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """The values of a row, with those that it leaves out as the row that it is `like` has them."""
    own = dict(rows[name])
    if "like" not in own:
        return own
    like = _whole(rows, own.pop("like"))
    grid = {"grid": {**like["grid"], **own.get("grid", {})}} if "grid" in like else {}
    heading = {"heading": ""} if "title" in own else {}  # that of the other is about another title
    return {**like, **heading, **own, **grid}


def _row(kind: type[Any], name: str, values: dict[str, Any]) -> Any:
    unknown = set(values) - {*kind.__annotations__}
    if unknown:
        raise ValueError(f"{name}: the catalog knows no {', '.join(sorted(unknown))}")
    return kind(name=name, **{key: _frozen(key, value) for key, value in values.items()})


def _frozen(key: str, value: Any) -> Any:
    if key == "sources":
        return tuple(_source(**source) for source in value)
    if key == "torchvision":
        return Torchvision(**value)
    if key == "optimizer":
        return OptimizerRow(**{name: _frozen(name, entry) for name, entry in value.items()})
    if isinstance(value, list):
        return tuple(value)
    if key == "synonyms":
        return {name: tuple(words) for name, words in value.items()}
    return value


def _source(*, archives: Sequence[dict[str, Any]] = (), **values: Any) -> Source:
    return Source(archives=tuple(Archive(**archive) for archive in archives), **values)


def _classes(name: str) -> dict[str, tuple[str, ...]]:
    """The class names in `classes/NAME.tsv`, one a line, its folder behind a tab where that has another name."""
    path = _FOLDER / "classes" / f"{name}.tsv"
    if not path.exists():
        return {}
    lines = [line.split("\t") for line in path.read_text(encoding="utf8").splitlines()]
    names, *folders = zip(*lines, strict=True)
    return {"class_names": names, "folders": folders[0] if folders else ()}


def _paper_number(row: dict[str, str]) -> PaperNumber:
    percent = row["metric"] == "accuracy" or ("@" in row["metric"] and not row["metric"].startswith("minutes"))
    value = round(float(row.pop("value")) / 100, 6) if percent else float(row.pop("value"))
    return PaperNumber(**row, value=value)
