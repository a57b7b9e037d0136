"""What a training run is made of: the options of `mmcoa train`, checked and frozen."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, get_args

from store.errors import UserError

from .. import attacks, catalog
from ..attacks.base import every_option, needs_masked_lm, settings_of
from ..attacks.compat import LEAK, of_training, parts
from ..attacks.image import IMAGE
from ..attacks.radii import canonical_or_same
from ..attacks.settings import BertAttackSettings, PgdSettings
from ..attacks.text import TEXT
from ..catalog import MethodRow, OptimizerRow
from ..catalog.recipes import recipes
from ..defences import settings_kind
from ..defences.settings import STEPS
from ..models.wrappers import WRAPPERS
from ..terminal import literals
from ..terminal.checks import not_negative, one_of, positive

if TYPE_CHECKING:
    from .evaluation_spec import EvaluationSpec

TUNES, PRECISIONS = get_args(literals.Tune), get_args(literals.Precision)
SHOTS = re.compile(r"0*[1-9][0-9]{0,8}")
DEFAULT_MODEL, DEFAULT_MLM, DEFAULT_DATASET = "ViT-B-32", "bert-base-uncased", "cifar100"
TYPED_FIRST = ("method", "dataset", "shots")  # and always
TYPED_LAST = ("tune", "compat", "precision", "fast", "optimizer")
OF_TRAINING = ("shots", "epochs", "lr", "tune", "batch_size", "optimizer")  # of every method that trains
OF_TEST = ("eps", "alpha", "batch_size")  # of the test that a training run ends with
STAGES = "stages"  # what the index calls the recipe: by that name it knows what runs of several seeds have in common
OF_OPTIMIZER = ("betas", "momentum", "weight_decay", "schedule", "warmup_steps")


@dataclass(frozen=True)
class TrainSpec:
    """One training run. Names are those of the store.

    `options` are those that only some methods have, each of which is in the settings of its loss, its wrapper, its
    attacks or its optimizer. Of them those are kept that are not the default.
    """

    method: str
    dataset: str = DEFAULT_DATASET
    shots: str = "full"
    model: str = DEFAULT_MODEL
    mlm: str = DEFAULT_MLM
    epochs: int = 10
    batch_size: int = 128
    lr: float = 1e-6
    seed: int = 0
    tune: str = "both"
    compat: str = "none"
    precision: str = "fp32"
    optimizer: str = "adam"
    fast: bool = False  # whether kernels may be taken that do not give the same bits every time
    recipe: str = ""  # of the catalog, in whose stages it is trained; empty for one stage
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        one_of("--tune", self.tune, (self.row.trains,) if self.row.wrapper else TUNES)
        object.__setattr__(self, "compat", self._compat())
        one_of("--precision", self.precision, PRECISIONS)
        one_of("--optimizer", self.optimizer, get_args(literals.Optimizer))
        if self.shots != "full":
            if not SHOTS.fullmatch(self.shots):
                told = f"--shots {self.shots} is no number of images a class"
                raise UserError(told, hint="--shots 5, or --shots full")
            object.__setattr__(self, "shots", str(int(self.shots)))  # "05" is the same run
        for option, value in (("--epochs", self.epochs), ("--batch-size", self.batch_size), ("--lr", self.lr)):
            positive(option, value)
        not_negative("--seed", self.seed)
        if self.recipe:
            catalog.lookup(recipes(), self.recipe, "recipe")
            if self.row.wrapper:
                raise UserError(f"{self.method} trains a prompt: no recipe makes it faster", hint="leave out --recipe")
        if LEAK in parts(self.compat) and self.image_attack.stop_when_fooled:
            raise UserError(
                "the released code attacks each image for all of its steps", hint="leave out -o stop_when_fooled=true"
            )
        object.__setattr__(self, "options", _fewest(self))

    @property
    def row(self) -> MethodRow:
        """The method's row of the catalog; an empty one for a method of another version."""
        return catalog.methods().get(self.method) or MethodRow(self.method)

    @cached_property
    def image_attack(self) -> PgdSettings:
        """The attack that training runs at every step."""
        return PgdSettings(**{"steps": STEPS, **self._of(PgdSettings)})

    @cached_property
    def text_attack(self) -> BertAttackSettings:
        """The attack on the class prompts, at every step."""
        return BertAttackSettings(**self._of(BertAttackSettings), compat=self.compat)

    def attack(self, name: str) -> Any:
        """The settings of an attack in training."""
        own = {IMAGE.name: self.image_attack, TEXT.name: self.text_attack}
        return own[name] if name in own else settings_of(attacks.lookup(name), self.options)

    @cached_property
    def settings(self) -> Any:
        """Those of the method's loss; None where it has none."""
        kind = settings_kind(self.row.loss)
        return kind(**self._of(kind)) if kind else None

    @property
    def template(self) -> str:
        """Of class prompts, where the method's wrapper has its own; else empty."""
        return WRAPPERS[self.row.wrapper].template if self.row.wrapper in WRAPPERS else ""

    @cached_property
    def wrapper_settings(self) -> Any:
        """Those of the method's wrapper; None where it has none."""
        found = WRAPPERS.get(self.row.wrapper)
        return found.settings_of(self.options) if found else None

    @cached_property
    def optimization(self) -> OptimizerRow:
        """The optimizer, and its schedule."""
        given = {name: self.options[name] for name in OF_OPTIMIZER if name in self.options}
        if "betas" in given:
            given["betas"] = tuple(given["betas"])
        row = replace(self.row.optimizer, name=self.optimizer, lr=self.lr, **given)
        one_of("-o schedule", row.schedule, get_args(literals.Schedule))
        not_negative("-o warmup_steps", row.warmup_steps)
        not_negative("-o weight_decay", row.decay)
        for option, value in (("betas", row.betas[0]), ("betas", row.betas[1]), ("momentum", row.momentum)):
            if not 0 <= value < 1:
                raise UserError(f"-o {option}: {value:g} is not in [0, 1)", hint=f"leave out -o {option}")
        return row

    @property
    def run_name(self) -> str:
        """What the run's id begins with; enough to name it, where only one run begins so."""
        shots = "full" if self.shots == "full" else f"{self.shots}shot"
        return f"{self.method}-{self.dataset}-{shots}"

    def changed(self, **options: Any) -> TrainSpec:
        """The same with other options, whether they are every method's or this one's."""
        flat = {**_fields(self), **self.options, **options}
        return _made(flat.pop("method"), flat)

    def document(self) -> dict[str, Any]:
        """All options as the index holds them: its own, and those that its method uses, also where they are usual."""
        used = {name: value for name, value in _used(self).items() if name in options_of(self.row)}
        own = _fields(self)
        stages = {STAGES: recipe} if (recipe := own.pop("recipe")) else {}
        return {**own, **stages, **self.options, **used}

    def to_type(self, test: EvaluationSpec | None = None) -> dict[str, Any]:
        """The options that have to be typed for it and the `test` that it ends with: those that are not the method's
        usual ones, and that something uses."""
        usual, ignored = train_spec(self.method, dataset=self.dataset), unused(self.row, tested=test is not None)
        if not (needs_masked_lm(self.row.attacks) or (test and test.takes_words)):
            ignored.add("mlm")
        used = [*options_of(self.row), *(test.options if test else ())]
        own = {name: value for name, value in _fields(self).items() if name not in ignored}
        told = {name: value for name, value in own.items() if value != getattr(usual, name) or name in TYPED_FIRST}
        last = {name: told.pop(name) for name in TYPED_LAST if name in told}
        return {**told, **{name: self.options[name] for name in used if name in self.options}, **last}

    def unusual(self) -> dict[str, Any]:
        """The settings that decide its weights and are not the method's usual ones on this dataset."""
        usual = _usual(self.row, self.dataset) if self.row.loss else TrainSpec(self.method)
        names = ("epochs", "batch_size", "lr", "tune", "precision", "fast", "optimizer", "recipe")
        own = {name: getattr(self, name) for name in names if getattr(self, name) != getattr(usual, name)}
        used = [name for name in options_of(self.row) if name in self.options]
        return {**own, **{name: self.options[name] for name in used}}

    def _compat(self) -> str:
        """What of it the method has a use for."""
        of = self.row.attacks
        return of_training(self.compat, image=IMAGE.name in of, text=needs_masked_lm(of))

    def _of(self, kind: type[Any]) -> dict[str, Any]:
        names = {f.name for f in fields(kind)}
        return {name: value for name, value in self.options.items() if name in names}


def options_of(row: MethodRow) -> dict[str, Any]:
    """The options that a method has beside those of every method, with their defaults."""
    kinds = [kind for kind in kinds_of(row) if kind is not OptimizerRow]
    found = {name: value for kind in kinds for name, value in asdict(kind()).items() if name != "compat"}
    if row.loss and IMAGE.name in row.attacks:
        found["steps"] = STEPS
    optimizer = {name: getattr(row.optimizer, name) for name in OF_OPTIMIZER} if row.loss else {}
    return {**found, **optimizer}


def kinds_of(row: MethodRow) -> list[type[Any]]:
    """The settings whose fields are a method's options: of its optimizer, attacks, loss and wrapper."""
    wrapper = WRAPPERS.get(row.wrapper)
    of_training = [OptimizerRow, *(attacks.lookup(name).settings for name in row.attacks), settings_kind(row.loss)]
    kinds = [*(of_training if row.loss else ()), wrapper.settings if wrapper else None]
    return [kind for kind in kinds if kind is not None]


def unused(row: MethodRow, *, tested: bool) -> set[str]:
    """The options of `train` that neither the method has a use for nor the test after it, if it is `tested`."""
    every = {*OF_TRAINING, "recipe", *(name for one in catalog.methods().values() for name in options_of(one))}
    of_weights = {"recipe"} if row.fine_tunes else set()  # what trains a prompt has it in the usual images
    return every - {*options_of(row), *of_weights, *(OF_TRAINING if row.loss else ()), *(OF_TEST if tested else ())}


def train_spec(method: str, **options: Any) -> TrainSpec:
    """A run of `method`: options that are None have the paper's values for it and for the dataset, from the catalog.

    Raises UserError for an option that neither the method has nor the test that it ends with.
    """
    row = catalog.lookup(catalog.methods(), method, "method")
    given = {name: value for name, value in options.items() if value is not None}
    for name in set(given) - set(_OWN) - set(options_of(row)) - _of_attacks():
        has = ", ".join(sorted(options_of(row))) or "none of its own"
        raise UserError(f"the method {method} has no option {name}", hint=f"its options: {has}")
    dataset = catalog.datasets().get(given.get("dataset", DEFAULT_DATASET))
    batch_size = dataset.batch_size if dataset and dataset.batch_size else row.batch_size
    defaults = {"epochs": row.epochs, "batch_size": batch_size, "lr": row.optimizer.lr, "tune": row.trains}
    return _made(row.name, {**defaults, "optimizer": row.optimizer.name, **given})


def in_words(shots: str) -> str:
    """ "5-shot", or "full"."""
    return shots if shots == "full" else f"{shots}-shot"


@lru_cache(maxsize=1024)  # thousands of runs are compared with few
def _usual(row: MethodRow, dataset: str) -> TrainSpec:
    return train_spec(row.name, dataset=dataset)


def stored_options(text: str) -> dict[str, Any]:
    """What the index says of a run (JSON), with eps and alpha in their canonical form."""
    found, radii = json.loads(text), ("eps", "alpha")
    found.pop("recipe", None)  # there, what runs of several seeds have in common
    found |= {"recipe": found.pop(STAGES)} if STAGES in found else {}
    return {name: canonical_or_same(v) if name in radii else v for name, v in found.items()}


def stored_spec(method: str, text: str) -> TrainSpec:
    """The specification of a run, by what the index says of it; what else stands there was not asked for."""
    return _made(method, stored_options(text))


def _made(method: str, given: Mapping[str, Any]) -> TrainSpec:
    """The specification of flat options; those are left out that the method has no use for, nor a test."""
    row = catalog.methods().get(method) or MethodRow(method)
    used = {*options_of(row), *_of_attacks()}
    options = {name: value for name, value in given.items() if name in used - set(_OWN)}
    return TrainSpec(method, **{name: given[name] for name in _OWN if name in given}, options=options)


_OWN = tuple(f.name for f in fields(TrainSpec) if f.name not in ("method", "options"))


def _of_attacks() -> set[str]:
    """The options of attacks, which a run records for its test also where its training has no use for them."""
    return set(every_option()) - {"compat", "mlm"}


def _fields(spec: TrainSpec) -> dict[str, Any]:
    return {f.name: getattr(spec, f.name) for f in fields(spec) if f.name != "options"}


def _parts(spec: TrainSpec) -> tuple[Any, ...]:
    """All that the options are the settings of."""
    return spec.optimization, spec.image_attack, spec.text_attack, spec.settings, spec.wrapper_settings


def _used(spec: TrainSpec) -> dict[str, Any]:
    """Every option with its value, in its canonical form."""
    found = {name: value for part in _parts(spec) if part is not None for name, value in asdict(part).items()}
    return {name: value for name, value in found.items() if name != "compat"}


def _fewest(spec: TrainSpec) -> dict[str, Any]:
    """The fewest options that give these settings, in their canonical form. Raises UserError for what cannot be."""
    used, kept = _used(spec), dict(spec.options)
    for name in set(spec.options) & set(used):
        fewer = {other: value for other, value in kept.items() if other != name}
        if _parts(_bare(spec, fewer)) == _parts(spec):
            kept = fewer
    return {name: used.get(name, value) for name, value in kept.items()}


def _bare(spec: TrainSpec, options: Mapping[str, Any]) -> TrainSpec:
    """The specification with these options, unchecked."""
    bare = object.__new__(TrainSpec)
    for name, value in {**_fields(spec), "options": options}.items():
        object.__setattr__(bare, name, value)
    return bare
