"""What the rows of the catalog are, but for its tables (`tables.py`). What a row leaves out has the default here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from ..terminal.literals import Schedule

TEMPLATE = "This is a photo of a {}"  # the paper's class prompt: capital T, no full stop, the article always "a"

AS_MANY = -1  # captions an image: as many as it has
OURS, RELEASE, PAPER = "ours", "release", "paper"  # what stands beside the switches: none, all, and what was printed


class Kind(StrEnum):
    """What can be fetched: a dataset, a CLIP model, a masked LM."""

    dataset = "dataset"
    clip = "clip"
    mlm = "mlm"


class Archive(NamedTuple):
    """One file to download, with a pinned checksum (SHA-256 or MD5); `bytes` is 0 where its exact size is not known."""

    url: str
    md5: str = ""
    sha256: str = ""
    bytes: int = 0


class Source(NamedTuple):
    """One way to get a dataset: archives that together hold it, or a repository of the Hugging Face hub.

    `splits` says which of the repository's splits becomes which of ours; those it leaves out are not read. `note` is
    what sets its images apart from the official ones.
    """

    archives: tuple[Archive, ...] = ()
    repository: str = ""
    revision: str = ""  # a commit; empty where none is pinned: then the newest is taken, and recorded
    splits: Mapping[str, str] = {}
    note: str = ""


class Torchvision(NamedTuple):
    """How torchvision reads a dataset: its class, the `folder` it expects below its root, a file (`marker`) by which
    that folder is known wherever it lies, and which of its splits becomes which of ours.

    `lists` are files that name the images of our splits, for a class that gives all images as one.
    """

    name: str
    folder: str
    marker: str
    splits: Mapping[str, str] = {}
    lists: Mapping[str, str] = {}


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


class ModelRow(NamedTuple):
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


class MlmRow(NamedTuple):
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

    The learning rate rises over W = `warmup_steps`, from lr / W to lr, if these are at most half of the run; else over
    a tenth of it. Then it is "constant", or falls as a "cosine" to 0 at the end.
    In the first `held_epochs` it is `held_lr`, and all of that comes afterwards: a cosine ends so much above 0.
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
        warmup = {"warmup": self.warmup_steps} if self.warmup_steps else {}
        held = {"held_first": [self.held_epochs, self.held_lr]} if self.held_epochs else {}
        return {name: value for name, value in used.items() if usual.get(name) != value} | warmup | held


@dataclass(frozen=True)
class MethodRow:
    """A defence. `loss` names its loss in `defences/`; empty where nothing is trained. Defaults are the paper's.

    With a `wrapper` (of `models.wrappers.WRAPPERS`) it is tested through that, and trains the wrapper's tensors alone.
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


class PaperNumber(NamedTuple):
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


@dataclass(frozen=True)
class SwitchRow:
    """Options of `mmcoa train` and of `mmcoa evaluate` that make something as the released code does.

    It is one only of runs that have the options `instead_of`, of these `tasks` (empty: all), and not of the datasets
    `but`. `together` says whether the released code does it: then it takes part where all are turned on.
    """

    name: str
    title: str = ""
    training: Mapping[str, Any] = field(default_factory=dict, hash=False)
    test: Mapping[str, Any] = field(default_factory=dict, hash=False)
    instead_of: Mapping[str, Any] = field(default_factory=dict, hash=False)
    but: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    together: bool = True
