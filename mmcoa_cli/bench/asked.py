"""What can be asked of a bench: its parts, a file and a row for each, and the model and sizes, checked. Importing this
module imports no torch; what a part is made of is imported when it is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from store.errors import UserError

from ..terminal.checks import positive

if TYPE_CHECKING:
    from .bench import Bench
    from .race import Race

ROUNDS, MOST_ROUNDS, MOST_CLASSES = 5, 1000, 1000
QUICK_ROUNDS = 1


@dataclass(frozen=True)
class Part:
    """`module` has `races`, which gives one race after another. `shared`: by threads of all cores; so the clock is told
    beside CPU time."""

    title: str
    module: str
    shared: bool = False

    def races(self, bench: Bench) -> Iterator[Race]:
        give: Callable[[Bench], Iterator[Race]] = import_module(f".{self.module}", __package__).races
        return give(bench)


PARTS = {
    "image": Part("the image attack", "image"),
    "train": Part("training", "training"),
    "text": Part("the text attack", "text"),
    "data": Part("reading data", "data", shared=True),
    "store": Part("the store's examples", "examples"),
    "start": Part("starting the program", "start"),
}


@dataclass(frozen=True)
class Asked:
    """None is for what the device decides (`sized`)."""

    parts: tuple[str, ...]
    model: str
    mlm: str
    rounds: int | None = None
    batch_size: int | None = None
    steps: int | None = None
    classes: tuple[int, ...] | None = None
    precision: str = "fp32"
    quick: bool = False
    fast: bool = False

    def __post_init__(self) -> None:
        for option, value in (("--batch-size", self.batch_size), ("--steps", self.steps), ("--rounds", self.rounds)):
            if value is not None:
                positive(option, value)
        if self.rounds is not None and self.rounds > MOST_ROUNDS:
            raise UserError(f"--rounds {self.rounds} takes days", hint=f"--rounds {ROUNDS}")
        for number in self.classes or ():
            if not 2 <= number <= MOST_CLASSES:
                raise UserError(f"--classes {number} is out of range", hint="--classes 10,100,1000")

    def sized(self, device: str) -> Sized:
        """With everything decided: small on a CPU, as in the paper on what computes thousands of images a second."""
        small = device == "cpu"
        usual = (10,) if self.quick else (10, 100, 1000)
        return Sized(
            batch_size=self.batch_size or (2 if self.quick else 8 if small else 128),
            training_batch_size=self.batch_size or (2 if small else 128),
            steps=self.steps or (2 if small else 10),
            training_steps=self.steps or (1 if small else 10),
            classes=self.classes or usual,
            rounds=self.rounds or (QUICK_ROUNDS if self.quick else ROUNDS),
            forced=self.classes is not None,
        )


@dataclass(frozen=True)
class Sized:
    """`classes` are the numbers of class prompts that the text attack is measured with; the image attack and training
    take the first. `forced`: even where that takes long."""

    batch_size: int
    steps: int
    training_batch_size: int
    training_steps: int
    classes: tuple[int, ...]
    rounds: int
    forced: bool = False
