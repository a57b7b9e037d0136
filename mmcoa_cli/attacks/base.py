"""What an attack is: what it needs, and how it makes images, prompts or both, or whose it shows.

Importing this module loads nothing heavy: a command reads the settings of attacks before anything is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from .. import catalog

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.stored_lm import AnyMaskedLM
    from ..models.victim import Victim

Classifier = Callable[["Tensor"], "Tensor"]  # pixels (B, 3, S, S) -> logits (B, K)


@dataclass(frozen=True)
class Goal:
    """What gradient ascent on images goes for: `objective(x, *own)`, of pixels (b, 3, S, S) and of what these images
    have of their own, tensors with a row for each. It gives what is ascended, summed, and which go on (None: all).

    The objective is the same in every block of an example set: images of several may be attacked together.
    """

    objective: Callable[..., tuple[Tensor, Tensor | None]]
    own: tuple[Tensor, ...] = ()

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.objective(x, *self.own)

    def of(self, rows: Any) -> Goal:
        """That of some of the images."""
        return Goal(self.objective, tuple(tensor[rows] for tensor in self.own))


def _no_goal() -> Goal:
    raise ValueError("this block is of no task")


@dataclass(frozen=True)
class Batch:
    """A block of images under attack: pixels in [0, 1], (B, 3, S, S), labels (B,), and their numbers in the dataset.

    Class prompts are those of the whole dataset: clean, or as an attack that this one needs has made them. In a task on
    captions they are these, all of them in the order of their images, and a label is the number of an image's last one.
    """

    victim: Victim
    images: Tensor
    labels: Tensor
    indices: Sequence[int]
    settings: Any
    seed: int
    logits: Classifier  # against the clean class prompts
    answer: Classifier  # against the class prompts that the images of this attack are classified by
    class_features: Callable[[str], Tensor]  # an attack's class prompts, embedded: (K, D), of unit length
    goal: Callable[[], Goal] = _no_goal  # that of an attack on images alone in this task
    own_rows: Tensor | None = None  # of each text that belongs to an image: the row of that (T,) ...
    own_texts: Tensor | None = None  # ... and the text's number (T,)
    epoch: int = 0
    on_step: Callable[[], None] = lambda: None

    def start(self) -> Tensor:
        """delta_0 of each image, from the generator of (seed, its number)."""
        from .starts import random_start

        return random_start(self.settings, self.images, indices=self.indices, seed=self.seed, epoch=self.epoch)

    def one_sided_start(self) -> Tensor:
        """delta_0 ~ U(0, eps), as Co-Attack published it: where delta is U(-eps, eps), |delta| is that."""
        return self.start().abs()


@dataclass(frozen=True)
class Ascent:
    """The `images` of an attack that is gradient ascent, in the ball of its settings, on one goal for each block."""

    goal: Callable[[Batch], Goal]
    start: Callable[[Batch], Tensor] = Batch.start

    def __call__(self, batch: Batch) -> Tensor:
        """The images of a block: (B, 3, S, S)."""
        from .pgd import iterates, last

        trajectory = iterates(self.goal(batch), batch.images, settings=batch.settings, start=self.start(batch))
        return last(trajectory, batch.settings, batch.on_step)

    @staticmethod
    def leaves_images(settings: Any) -> bool:
        """Whether it is done with some images before others, so that the next ones can take their place."""
        return bool(getattr(settings, "stop_when_fooled", False) and settings.steps)


@dataclass(frozen=True)
class Texts:
    """All texts of a dataset under attack: K class prompts, in class order, with the names that stand in them; or all
    captions, in the order of their images.

    `owners` is the image of each caption, and `image_features` the embeddings of all images (n, D), of unit length, as
    an attack has left them: this one, or one that it needs.
    """

    victim: Victim
    prompts: Sequence[str]
    names: Sequence[str]
    settings: Any
    mlm: AnyMaskedLM | None = None
    seed: int = 0
    owners: Tensor | None = None
    image_features: Callable[[str], Tensor] | None = None


@dataclass(frozen=True)
class Attack:
    """An attack. What it makes it makes itself (`images`, `prompts`), or shows as another made it (`images_of`,
    `prompts_of`); what it leaves out stays clean.

    `settings` is a frozen dataclass of its own options; `needs` are the attacks whose examples are made first. Raise
    `version` when the same settings would give other examples: it is part of every key.
    """

    name: str
    title: str = ""
    source: str = ""
    settings: type[Any] | None = None
    version: int = 1
    needs: tuple[str, ...] = ()
    images: Callable[[Batch], Tensor] | None = None
    prompts: Callable[[Texts], list[str]] | None = None
    images_of: str = ""
    prompts_of: str = ""
    stricter_than: str = ""  # a weaker attack in the same ball: reports say by how much that one overestimates
    on: str = ""  # "classes" or "captions", where it attacks these alone
    seeded: bool = False  # what it makes depends on the seed
    masked_lm: bool = False  # it takes words from a masked LM
    usual: bool = False  # it is run where no attack is asked for

    @property
    def changes_texts(self) -> bool:
        return bool(self.prompts or self.prompts_of)

    @property
    def changes_nothing(self) -> bool:
        return not (self.images or self.images_of or self.changes_texts)


ATTACKS: dict[str, Attack] = {}


def register(attack: Attack) -> Attack:
    """Make an attack known under its name. Raises ValueError where it needs, or shows, what is not known."""
    for other in {*attack.needs, attack.images_of, attack.prompts_of} - {""}:
        if other not in ATTACKS:
            raise ValueError(f"{attack.name} needs {other!r}, which is no attack")
    ATTACKS[attack.name] = attack
    return attack


def lookup(name: str) -> Attack:
    """The attack of this name. Raises UserError that names the closest ones."""
    return catalog.lookup(ATTACKS, name, "attack")


def usual() -> tuple[str, ...]:
    """The attacks that are run where none is asked for."""
    return tuple(attack.name for attack in ATTACKS.values() if attack.usual)


def with_needs(names: Iterable[str]) -> list[Attack]:
    """These attacks and all that they need, each once, what is needed first."""
    found: dict[str, Attack] = {}
    for name in names:
        attack = lookup(name)
        found |= {need.name: need for need in with_needs(attack.needs)} | {name: attack}
    return list(found.values())


def parts(name: str) -> list[Attack]:
    """The attacks that decide what examples of this one are: itself and what it needs, those that make something."""
    return [attack for attack in with_needs([name]) if attack.settings]


def needs_masked_lm(names: Iterable[str]) -> bool:
    return any(attack.masked_lm for attack in with_needs(names))


def options_of(names: Iterable[str]) -> dict[str, Any]:
    """The options that these attacks have, with their defaults; `mlm` is one of those that take words from it."""
    made = with_needs(names)
    found = {f.name: f.default for attack in made if attack.settings for f in fields(attack.settings)}
    return found | ({"mlm": None} if any(attack.masked_lm for attack in made) else {})


def every_option() -> dict[str, Any]:
    """The options of all attacks."""
    return options_of(ATTACKS)


def settings_of(attack: Attack, options: Mapping[str, Any]) -> Any:
    """The attack's settings with those of `options` that it has. Raises UserError for what it cannot be run with."""
    if attack.settings is None:
        return None
    names = {f.name for f in fields(attack.settings)}
    return attack.settings(**{name: value for name, value in options.items() if name in names})


def given_options(settings: Any, make: Callable[[Mapping[str, Any]], Any] | None = None) -> dict[str, Any]:
    """The fewest options of which `make`, or their own kind, makes these settings: what has to be typed."""
    kept, made = asdict(settings), make or (lambda options: type(settings)(**options))
    for name in reversed(list(kept)):
        without = {other: value for other, value in kept.items() if other != name}
        with suppress(UserError):  # a radius may be one only in the norm that is given
            if made(without) == settings:
                kept = without
    return kept


def section(attack: Attack, settings: Any, *, seed: int, mlm: str) -> dict[str, Any]:
    """What decides an attack's part of an example set, beside the model and the data; `mlm` is the digest of one."""
    return {
        "version": attack.version,
        **({"seed": seed} if attack.seeded else {}),
        **({"mlm": mlm} if attack.masked_lm else {}),
        **asdict(settings),
    }


def for_texts(settings: Any, number: int) -> Any:
    """The settings as they are run on this many class prompts: some attacks need several. Raises UserError where it
    cannot be run on so few."""
    return settings.for_texts(number) if hasattr(settings, "for_texts") else settings


def effort(settings: Any) -> int:
    """How many steps an image takes, at most."""
    return int(getattr(settings, "effort", getattr(settings, "steps", 1)))
