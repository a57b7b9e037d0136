"""What an evaluation is made of: the options of the command line, checked, frozen, and in one form.

The options of attacks (`eps`, `no_collisions`) belong to every attack that has them. They are kept as the fewest that
give the same settings, so that two specifications are equal where their attacks are.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import Any

from store.errors import UserError

from .. import attacks as registry
from .. import tasks
from ..attacks import Attack, base
from ..attacks.compat import of_test
from ..terminal.checks import not_negative, one_of, positive
from .training_spec import DEFAULT_MLM, PRECISIONS, TrainSpec


@dataclass(frozen=True)
class EvaluationSpec:
    """What `checkpoint` (a run or a model) is tested with, on each dataset under each attack.

    `options` are those of attacks, by name. Raises UserError for what no attack can be run with.
    """

    checkpoint: str
    datasets: tuple[str, ...]
    attacks: tuple[str, ...] = field(default_factory=base.usual)
    task: str = "classification"
    mlm: str = DEFAULT_MLM
    limit: int | None = None
    pixel_size: int | None = None  # the side of the images that are attacked; None: the dataset's own
    epoch: int | None = None  # of a run, the weights after this one are tested; None: after the last
    seed: int = 0
    batch_size: int = 128
    precision: str = "fp32"
    fast: bool = False  # whether kernels may be taken that do not give the same bits every time
    compat: str = "none"
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in self.attacks:
            one_of("--attack", name, tuple(registry.ATTACKS))
        task = tasks.lookup(self.task)
        for attack in base.with_needs(self.attacks):
            require_kind(attack, task)
        for name in self.attacks if task.examples_of else ():
            require_images(registry.lookup(name))
        object.__setattr__(self, "compat", of_test(self.compat, text=self.takes_words))
        one_of("--precision", self.precision, PRECISIONS)
        positive("--batch-size", self.batch_size)
        for option, value in (("--limit", self.limit), ("--pixel-size", self.pixel_size), ("--epochs", self.epoch)):
            if value is not None:
                positive(option, value)
        not_negative("--seed", self.seed)
        object.__setattr__(self, "options", self._fewest_options(task))

    def settings(self, attack: Attack) -> Any:
        """The attack's settings; None for one that has none of its own."""
        return self._settings(attack, self.options)

    def _settings(self, attack: Attack, options: Mapping[str, Any]) -> Any:
        task = tasks.lookup(self.task)
        own = task.options_of(attack, task.options(options))
        return base.settings_of(attack, {**own, "compat": self.compat})

    @property
    def parts(self) -> list[Attack]:
        """The attacks that have settings of their own, of those that are run and those that they need."""
        return [attack for attack in base.with_needs(self.attacks) if attack.settings]

    @property
    def takes_words(self) -> bool:
        """Whether a masked LM takes part."""
        return base.needs_masked_lm(self.attacks)

    def to_type(self) -> dict[str, Any]:
        """The options that have to be typed: those that are not the default, and that something uses."""
        plain = EvaluationSpec(self.checkpoint, self.datasets)
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "options"}
        told = {name: value for name, value in own.items() if value != getattr(plain, name)}
        named = {"checkpoint": self.checkpoint, "dataset": ",".join(self.datasets)}
        attacks = {"attack": ",".join(told.pop("attacks"))} if "attacks" in told else {}
        epochs = {"epochs": told.pop("epoch")} if "epoch" in told else {}
        mlm = {"mlm": told.pop("mlm")} if "mlm" in told else {}
        return {**named, **epochs, **attacks, **told, **self._options_to_type(), **(mlm if self.takes_words else {})}

    def _options_to_type(self) -> dict[str, Any]:
        """The options of attacks without those that the task sets by itself."""
        kept, task = dict(self.options), tasks.lookup(self.task)
        for name in self.options:
            without = {other: value for other, value in kept.items() if other != name}
            if task.options(without) == self.options:
                kept = without
        return kept

    def on(self, *datasets: str) -> EvaluationSpec:
        """The same on other datasets, on which nothing else of it depends."""
        other = copy(self)
        object.__setattr__(other, "datasets", datasets)
        return other

    def changed(self, **options: Any) -> EvaluationSpec:
        """The same with other options, of the specification or of attacks."""
        flat = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "options"}
        return evaluation_spec(**{**flat, **self.options, **options})

    def _fewest_options(self, task: tasks.Task) -> dict[str, Any]:
        given, used = task.options(self.options), dict[str, Any]()
        unknown = set(given) - set(base.every_option())
        if unknown:
            known = ", ".join(base.options_of(self.attacks)) or "none"
            raise UserError(f"no attack has an option {sorted(unknown)[0]!r}", hint=f"these attacks have: {known}")
        own = task.options({})  # what is left out has the task's value, not the attack's: all of it is kept
        for attack in self.parts:
            settings = self._settings(attack, given)
            used |= base.given_options(settings, partial(self._settings, attack))
            used |= {name: value for name, value in asdict(settings).items() if name in own}
        return {name: used[name] for name in base.every_option() if name in used and name != "compat"}


def require_kind(attack: Attack, task: tasks.Task) -> None:
    """Raises UserError where an attack is one on classes, or on captions, and the task has the other."""
    if attack.on and attack.on != ("captions" if task.captions else "classes"):
        others = [one.name for one in tasks.TASKS.values() if one.captions != task.captions]
        raise UserError(
            f"{attack.name} attacks {attack.on}, and {task.name} has none", hint=f"--task {' or '.join(others)}"
        )


def require_images(attack: Attack) -> None:
    """Raises UserError for an attack that makes no images to look at."""
    if not (attack.images or attack.changes_nothing):
        raise UserError(
            f"the attack {attack.name} makes no images of its own", hint="--attack image, or another on images"
        )


def evaluation_spec(
    checkpoint: str, datasets: tuple[str, ...], attacks: tuple[str, ...] = (), **options: Any
) -> EvaluationSpec:
    """The evaluation with these options, of the specification and of attacks; what is None has its default."""
    own = {f.name for f in fields(EvaluationSpec)}
    given = {name: value for name, value in options.items() if value is not None}
    of_attacks = {name: value for name, value in given.items() if name not in own}
    of_spec = {name: value for name, value in given.items() if name in own}
    return EvaluationSpec(checkpoint, tuple(datasets), tuple(attacks) or base.usual(), options=of_attacks, **of_spec)


def evaluation_after(spec: TrainSpec, *, limit: int | None = None, steps: int | None = None) -> EvaluationSpec:
    """The evaluation a run ends with: its own dataset, all attacks, the radius it was trained with; all images and 100
    steps where not fewer are asked for."""
    attack = spec.image_attack
    return evaluation_spec(
        "", (spec.dataset,), mlm=spec.mlm, eps=attack.eps, alpha=attack.alpha, seed=spec.seed,
        batch_size=spec.batch_size, precision=spec.precision, fast=spec.fast, compat=spec.compat, limit=limit,
        steps=steps,
    )  # fmt: skip


def evaluation_before(spec: TrainSpec) -> EvaluationSpec | None:
    """The attack on the training images before the first step, as a test of the model; None where there is none."""
    if not spec.row.offline:
        return None
    return evaluation_spec(
        spec.model, (spec.dataset,), (spec.row.offline,), seed=spec.seed, precision=spec.precision, fast=spec.fast,
        **asdict(spec.settings.offline_attack),
    )  # fmt: skip


def from_document(document: Mapping[str, Any]) -> EvaluationSpec:
    """The specification that `asdict` made a document of."""
    lists = {name: tuple(document[name]) for name in ("datasets", "attacks")}
    return EvaluationSpec(**{**document, **lists})
