"""One model on one dataset: which examples each attack's set holds, under which key, and the results of a finished set.

Importing this module does not import torch: what is in the store already is found, and told, without it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from store.datasets import Dataset
from store.examples import ExampleSet
from store.index import Index
from store.keys import key_of
from store.schema import Result, Run

from .. import __version__, attacks, tasks
from ..attacks.base import for_texts, parts, section
from ..attacks.compat import TIES
from ..attacks.compat import parts as parts_of
from ..datasets.library import attacked_at, open_for
from ..datasets.prompts import class_prompts
from ..datasets.sampling import few_shot
from ..models.current_digests import data_key
from ..models.digests import SCHEME
from ..models.runs import template_of
from ..settings import Home
from .evaluation_spec import EvaluationSpec, evaluation_before
from .subject import Subject
from .training_spec import TrainSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..datasets.pixels import Pixels
    from ..tasks.base import Column

VERSION = 2  # part of every key: raise it when the same attack's set would hold other columns or notes
SPLIT = "test"

Ints = npt.NDArray[np.int64]


def trials_of(spec: EvaluationSpec, subject: Subject, home: Home) -> list[Trial]:
    """A trial for each dataset of `spec`. Raises UserError for datasets that are not there."""
    captions = tasks.lookup(spec.task).captions
    datasets = [attacked_at(open_for(name, home, captions=captions), spec.pixel_size) for name in spec.datasets]
    template = template_of(subject.run, home)
    return [Trial(spec, subject, home, dataset, template) for dataset in datasets]


def identity_of_need(identity: Mapping[str, Any], attack: str, need: str) -> dict[str, Any]:
    """The identity of the set of an attack that `attack` needs, by the identity of its own set."""
    others = {part.name for part in parts(attack)} - {part.name for part in parts(need)}
    return {**{name: value for name, value in identity.items() if name not in others}, "attack": need}


@dataclass(frozen=True)
class Trial:
    """One subject on one dataset; `template` is that of its own class prompts, if it has one."""

    spec: EvaluationSpec
    subject: Subject
    home: Home
    dataset: Dataset
    template: str = ""
    split: str = SPLIT
    quiet: bool = False  # whether no progress is shown

    @cached_property
    def task(self) -> tasks.Task:
        return tasks.lookup(self.spec.task)

    @cached_property
    def source(self) -> Trial | None:
        """The trial whose images this one's task looks at; None where it makes its own."""
        other = self.task.examples_of
        return replace(self, spec=self.spec.changed(task=other)) if other else None

    @cached_property
    def indices(self) -> Ints:
        return self.task.draw(self.dataset.labels(self.split), self.spec.limit, seed=self.spec.seed)

    @cached_property
    def drawn(self) -> tasks.Drawn:
        dataset = self.dataset.asked_with(self.template) if self.template else self.dataset
        return tasks.Drawn(dataset, self.split, self.indices)

    @property
    def name(self) -> str:
        return self.dataset.info.name

    @cached_property
    def labels(self) -> Ints:
        return self.drawn.labels

    @cached_property
    def own(self) -> Ints:
        """The text that stands for each image."""
        return self.task.own(self.drawn)

    @cached_property
    def texts(self) -> list[str]:
        return self.task.texts(self.drawn)

    def pixels(self, block: range) -> Pixels:
        """The clean images of a block, (b, S, S, 3) in 0..255."""
        from ..datasets.pixels import load_pixels  # with Pillow, which finding what is stored does without

        return load_pixels(self.dataset, self.split, self.indices[block.start : block.stop])

    def as_attacked(self, pixels: Pixels, device: torch.device) -> Tensor:
        """The same as an attack takes them, (b, 3, S, S) in [0, 1]."""
        from ..datasets.pixels import to_unit

        return to_unit(pixels, device)

    @property
    def limited(self) -> bool:
        return len(self.indices) < len(self.dataset.labels(self.split))

    @property
    def subset(self) -> dict[str, Any] | None:
        """What drew the images, where they are not all."""
        return {"limit": self.spec.limit, "seed": self.spec.seed} if self.limited else None

    def settings(self, attack: attacks.Attack) -> Any:
        """The attack's settings on these texts; None for one that has none of its own."""
        return for_texts(self.spec.settings(attack), len(self.texts))

    def sections(self, attack: str) -> dict[str, dict[str, Any]]:
        """The parts of an attack with their settings: what is the same for every model and dataset."""
        return {
            part.name: section(part, self.settings(part), seed=self.spec.seed, mlm=self.subject.words.digest)
            for part in parts(attack)
        }

    def identity(self, attack: str) -> dict[str, Any]:
        """Everything that decides the content of an attack's example set; its hash is the set's key."""
        info = self.dataset.info
        return {
            "version": VERSION,
            "attack": attack,
            "digests": SCHEME,
            "weights": self.subject.weights,
            "data": {
                "checksum": info.checksum,
                "split": self.split,
                "pixel_size": info.pixel_size,
                "resize": info.resize,
            },
            "subset": self.subset,
            **self.task.identity(self.drawn),
            "precision": self.spec.precision,
            **({"scored in": "fp32"} if self.spec.precision != "fp32" else {}),
            **({"fast": True} if self.spec.fast else {}),
            **self.sections(attack),
        }

    def examples(self, attack: str) -> ExampleSet:
        """The attack's example set, made or not."""
        if attack not in self._examples:
            self._examples[attack] = ExampleSet(
                self.home.examples, self.identity(attack), n=len(self.indices), block_size=self.spec.batch_size
            )
        return self._examples[attack]

    @cached_property
    def _examples(self) -> dict[str, ExampleSet]:
        return {}

    def evaluation_id(self, attack: str) -> str:
        """The id that the results under an attack of `spec` have in the index."""
        return self._ids[attack]

    @cached_property
    def _ids(self) -> dict[str, str]:
        """Those of each attack. Where one is taken by the same images under another name, the results of this name have
        one of their own; the examples are the same."""
        run, spec, name, index = self.subject.run.id, self.spec, self.dataset.info.name, self.home.index_if_there()
        ids = {one: key_of([run, self.examples(one).key, spec.seed, spec.compat]) for one in spec.attacks}
        there = index.results(evaluations=list(ids.values())) if index else []
        taken = {result.evaluation for _, result in there if result.dataset != name}
        return {attack: key_of([id, name]) if id in taken else id for attack, id in ids.items()}

    def stored(self, index: Index) -> tuple[str, ...]:
        """The attacks of `spec` whose results the index has, and the store their examples."""
        ids = {self.evaluation_id(attack): attack for attack in self.spec.attacks}
        there = {result.evaluation for _, result in index.results(evaluations=list(ids))}
        return tuple(attack for id, attack in ids.items() if id in there and self.examples(attack).complete)

    def results(self, attack: str, *, seconds: float, device: str, now: str) -> list[Result]:
        """The rows of the index for a finished example set, one a metric."""
        examples = self.examples(attack)
        notes = {**examples.notes, "prompts": len(self.texts)}
        attacked = not attacks.lookup(attack).changes_nothing
        common: dict[str, Any] = {
            "evaluation": self.evaluation_id(attack),
            "run_id": self.subject.run.id,
            "dataset": self.dataset.info.name,
            "task": self.task.name,
            "attack": attack,
            "threat": self._threat(attack),
            "setting": self._setting(examples),
            "examples": examples.key,
            "weights": self.subject.weights,
            "seed": self.spec.seed,
            "seconds": round(seconds, 3),
            "device": device,
            "version": __version__,
            "created_at": now,
        }
        measured = self.task.measure(self.column(attack), notes, attacked=attacked)
        return [Result(metric=m.name, value=m.value, low=m.low, high=m.high, n=m.n, **common) for m in measured]

    def column(self, attack: str) -> Column:
        """Reads the columns of an attack's finished set, as they are counted."""
        values = self.examples(attack).values
        return self.task.first_wins(values) if TIES in parts_of(self.spec.compat) else values

    def _threat(self, attack: str) -> dict[str, dict[str, Any]]:
        """The sections, with the name of the masked LM and where it is from beside its digest."""
        named = {"mlm_name": self.subject.words.name, "mlm_origin": self.subject.words.origin}
        return {part: {**found, **(named if "mlm" in found else {})} for part, found in self.sections(attack).items()}

    def _setting(self, examples: ExampleSet) -> dict[str, Any]:
        """What was measured, beside the attack: the images, the prompts, and how they were computed."""
        info = self.dataset.info
        return {
            "split": self.split,
            **({"epoch": self.subject.epoch} if self.subject.epoch else {}),
            **json.loads(self.subject.run.spec).get("setting", {}),
            "limit": self.spec.limit if self.limited else None,
            "partial": bool(info.part(self.split)),
            "part": info.part(self.split),
            "pixel_size": info.pixel_size,
            "data": data_key(info.checksum, class_prompts(info.class_names, info.template)),
            "precision": self.spec.precision + (", fast" if self.spec.fast else ""),
            "compat": self.spec.compat,
            "batch_size": examples.block_size,
            "digests": SCHEME,
            "torch": version("torch"),
        }


@dataclass(frozen=True)
class TrainingTrial(Trial):
    """The model that a training starts from, on the images it is trained on."""

    shots: str = "full"
    split: str = "train"

    @cached_property
    def indices(self) -> Ints:
        return few_shot(self.dataset.labels(self.split), self.shots, seed=self.spec.seed)

    @property
    def subset(self) -> dict[str, Any] | None:
        return {"shots": self.shots, "seed": self.spec.seed} if self.limited else None


def before_training(spec: TrainSpec, run: Run, dataset: Dataset, home: Home) -> Trial | None:
    """The model that a run starts from on its images, where its method attacks these before the first step."""
    test = evaluation_before(spec)
    subject = Subject(run, json.loads(run.spec)["base"])
    return TrainingTrial(test, subject, home, dataset, shots=spec.shots) if test else None
