"""The parts of a bench, by name: a file and a row for each. What it is made of is imported when it is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bench import Bench
    from .race import Race


@dataclass(frozen=True)
class Part:
    """`module` has `races`, which gives one race after another."""

    title: str
    module: str

    def races(self, bench: Bench) -> Iterator[Race]:
        give: Callable[[Bench], Iterator[Race]] = import_module(f".{self.module}", __package__).races
        return give(bench)


PARTS = {
    "image": Part("the image attack", "image"),
    "train": Part("training", "training"),
    "text": Part("the text attack", "text"),
    "data": Part("reading data", "data"),
    "store": Part("the store's examples", "examples"),
    "start": Part("starting the program", "start"),
}
