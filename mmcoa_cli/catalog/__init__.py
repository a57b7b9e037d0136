"""The catalog: datasets, models, methods and tables as rows of data, and the paper's 611 numbers.

Adding a dataset, a model or a method's defaults means adding a row to a TOML file here; no code looks at a name. The
names of many classes stand in a file of their own, `classes/DATASET.tsv`.
Keys that a row leaves out have the defaults of the dataclass.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from store.errors import UserError

from ..names import meant
from ..terminal.literals import Schedule
from .tables import AXES as AXES
from .tables import Cell as Cell
from .tables import PaperSettings
from .tables import TableRow as TableRow

TEMPLATE = "This is a photo of a {}"  # the paper's class prompt: capital T, no full stop, the article always "a"

AS_MANY = -1  # captions an image: as many as it has


class Kind(StrEnum):
    """What can be fetched: a dataset, a CLIP model, a masked LM."""

    dataset = "dataset"
    clip = "clip"
    mlm = "mlm"


@dataclass(frozen=True)
class Archive:
    """One file to download, with a pinned checksum (SHA-256 or MD5); `bytes` is 0 where its exact size is not known."""

    url: str
    md5: str = ""
    sha256: str = ""
    bytes: int = 0


@dataclass(frozen=True)
class Source:
    """One way to get a dataset: archives that together hold it, or a repository of the Hugging Face hub.

    `splits` says which of the repository's splits becomes which of ours; those it leaves out are not read. `note` is
    what sets its images apart from the official ones.
    """

    archives: tuple[Archive, ...] = ()
    repository: str = ""
    revision: str = ""  # a commit; empty where none is pinned: then the newest is taken, and recorded
    splits: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Torchvision:
    """How torchvision reads a dataset: its class, the `folder` it expects below its root, a file (`marker`) by which
    that folder is known wherever it lies, and which of its splits becomes which of ours.

    `lists` are files that name the images of our splits, for a class that gives all images as one.
    """

    name: str
    folder: str
    marker: str
    splits: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetRow:
    """A dataset. Its own archive is read by torchvision's class (`torchvision`), by a function in `datasets/readers.py`
    (`reader`), or as folders of classes.

    `splits` are the images of the whole dataset; what is tested on is `test`. Image sizes are in pixels: images are
    attacked at `pixel_size` squared (their native size where it is fixed, else after Resize(`resize`) +
    CenterCrop(`pixel_size`)), before the resize to the encoder's input.
    """

    name: str
    class_names: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()  # what the classes' folders are called, where that is not their name
    not_classes: tuple[str, ...] = ()  # folders of the archive that are no classes
    captions: int = 0  # captions an image, or AS_MANY, of a dataset that has captions instead of classes
    splits: Mapping[str, int] = field(default_factory=dict)
    pixel_size: int = 224
    resize: int | None = None
    oriented: bool = False  # turned as their EXIF says, which torchvision's loader does not do
    template: str = TEMPLATE
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reader: str = ""
    torchvision: Torchvision | None = None
    sources: tuple[Source, ...] = ()
    bytes: int = 0  # of the download
    embedded: bool = False
    batch_size: int | None = None  # of training on it, where it is another than the methods'
    licence: str = ""
    citation: str = ""

    @property
    def hub_splits(self) -> Mapping[str, str]:
        """Which splits of a copy in Hugging Face layout become which of ours; empty where they have our names."""
        return next((source.splits for source in self.sources if source.splits), {})


@dataclass(frozen=True)
class ModelRow:
    """A CLIP model: an open_clip architecture with a pretrained tag, or an embedded stand-in trained on the spot."""

    name: str
    architecture: str = ""
    pretrained: str = ""
    config: str = ""  # a JSON file beside the catalog: the architecture of an embedded stand-in
    trained_on: str = ""  # the dataset an embedded stand-in is trained on
    epochs: int = 0
    bytes: int = 0  # of the download
    embedded: bool = False
    stand_in: bool = False


@dataclass(frozen=True)
class MlmRow:
    """A masked language model: a Hugging Face name with a pinned revision, or an embedded stand-in."""

    name: str
    repository: str = ""
    revision: str = ""
    bytes: int = 0  # of the download
    embedded: bool = False
    stand_in: bool = False


@dataclass(frozen=True)
class OptimizerRow:
    """How a method's weights are moved; the defaults are the paper's. An optimizer ignores what it has no use for; a
    `weight_decay` of None is the paper's for Adam and AdamW, and none for SGD.

    The learning rate rises from 0 over `warmup_steps`, if these are at most half of the run; else over a tenth of it.
    Then it is "constant", or falls as a "cosine" to 0 at the end.
    In the first `held_epochs` it is `held_lr` instead, and afterwards what it would be without them.
    """

    name: str = "adam"  # adam, adamw or sgd
    lr: float = 1e-6
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    momentum: float = 0.9
    weight_decay: float | None = None
    schedule: Schedule = "constant"
    warmup_steps: int = 0
    held_epochs: int = 0
    held_lr: float = 0.0

    @property
    def decay(self) -> float:
        """The weight decay as a number."""
        return self.weight_decay if self.weight_decay is not None else 0.0 if self.name == "sgd" else 0.2

    def warmup_in(self, steps: int) -> int:
        """How many of a run's `steps` are its warm-up."""
        return self.warmup_steps if 2 * self.warmup_steps <= steps else steps // 10

    def identity(self) -> dict[str, Any]:
        """What sets it apart from the paper's, without the learning rate: only what it uses."""
        momenta = {"momentum": self.momentum} if self.name == "sgd" else {"betas": self.betas, "eps": self.eps}
        used = {"name": self.name, **momenta, "weight_decay": self.decay, "schedule": self.schedule}
        usual = {"name": "adam", "betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 0.2, "schedule": "constant"}
        warmup = {"warmup_steps": self.warmup_steps} if self.warmup_steps else {}
        held = {"held": [self.held_epochs, self.held_lr]} if self.held_epochs else {}
        return {name: value for name, value in used.items() if usual.get(name) != value} | warmup | held


@dataclass(frozen=True)
class MethodRow:
    """A defence. `loss` names its loss in `defences/`; empty where nothing is trained. Defaults are the paper's.

    With a `wrapper` (of `models.victim.WRAPPERS`) it is tested through that, and trains the wrapper's tensors alone.
    Raise `version` when the same loss would give other weights.
    """

    name: str
    title: str = ""
    source: str = ""  # who published it
    loss: str = ""
    attacks: tuple[str, ...] = ()  # the attacks that training runs at every step
    offline: str = ""  # the attack whose examples of the training images are made before the first step, and stored
    trains: str = "both"  # what --tune means by default: both, image or text, or the name of what a wrapper trains
    optimizer: OptimizerRow = OptimizerRow()
    wrapper: str = ""
    epochs: int = 10
    batch_size: int = 128
    version: int = 1

    @property
    def fine_tunes(self) -> bool:
        """Whether it trains the model's own weights."""
        return bool(self.loss) and not self.wrapper


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
        return tuple(_paper_number(row) for row in csv.DictReader(file))


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
    unknown = set(values) - {f.name for f in fields(kind)}
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
