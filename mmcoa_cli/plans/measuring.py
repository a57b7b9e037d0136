"""A short measurement of this machine: each method's own loss and each attack's own examples, of a few images.

The images are noise, and the class names are of one to three words: the time of a prompt depends on its length, that of
an image on its number. Nothing is left of it: all lies in a folder that is removed.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil  # type: ignore[import-untyped]
import torch
from accelerate import Accelerator

from store.examples import ExampleSet

from .. import attacks
from ..attacks.base import options_of, with_needs
from ..attacks.clean import CLEAN
from ..attacks.compat import LEAK, parts
from ..attacks.image import IMAGE
from ..catalog import Cell, MethodRow
from ..defences import loss_of
from ..defences.optimizers import make_optimizer
from ..jobs.evaluation import Maker, evaluate
from ..jobs.evaluation_spec import EvaluationSpec
from ..jobs.job import Job, Start
from ..jobs.known import Known
from ..jobs.preflight import resolve
from ..jobs.subject import find_subject
from ..jobs.training_plan import Plan, make_plan
from ..jobs.training_spec import options_of as options_of_method
from ..jobs.training_steps import original_of
from ..jobs.training_steps import steps as batches
from ..jobs.trials import trials_of
from ..jobs.worker import choose_kernels
from ..models.fast_vit import patch_of
from ..models.library import mlm_path
from ..models.load import load_base, load_mlm
from ..models.memory import free_memory
from ..settings import Home
from ..terminal.console import err
from .cost import Cost, Disk, Held, Memory, Size, Speed, steps_of, taken
from .measured_store import WEIGHED, bytes_of_one, dataset_of, link_models, noise, taken_from, write
from .order import PAPER, Order, Scale

if TYPE_CHECKING:
    from .dry import Typed

NAMES = ("cat", "pickup truck", "oak tree", "airplane", "aquarium fish", "bottle", "dining room table", "sun")
FEW, MANY = 2, len(NAMES)  # classes, and the fewest images
STEPS = 6  # of an attack, beside 1
ENOUGH = 0.1  # seconds in which the most images that are measured together are encoded
T = TypeVar("T")
AGAIN = 2  # measurements of each size, of which the shortest counts
# what an image takes on disk: fewer are weighed of large ones, after so many steps of an attack
FEWER, SMALL, DISK_STEPS = 8, 100, 10
LEAST = 4  # images that are measured together: a model that takes ENOUGH for them is measured once, and weighs so many
LONG, STEPS_OF_LONG = 0.3, 2  # seconds of one image from which on one image is all that is measured, in so many steps


def measure(order: Order | Typed, home: Home, *, side: int, sides: Mapping[int, str] | None = None) -> Speed:
    """Time the models of `order`, which must be in the store, on this machine, with images of `side` pixels squared.

    `sides` are those of which it is measured what an attacked image takes on disk, each with the name of a dataset
    whose images are taken, or "" where none is here: then they are noise, as those are that the time is measured with.
    """
    choose_kernels(torch)  # before anything runs on the device: what follows in this process takes these kernels
    with _bench(order, home, side) as bench:
        trained = {row.name: bench.training(row) for row in order.methods}
        leaking = [row for row in order.methods if order.explain and IMAGE.name in row.attacks]
        run = {*order.attacks, *(row.offline for row in order.methods if row.offline)}
        tested = {attack.name: bench.attack(attack.name) for attack in with_needs(run)}
        return Speed(
            {name: cost for name, (cost, _) in trained.items()}, tested,
            leaking={row.name: bench.training(row, compat=LEAK)[0] for row in leaking},
            load=bench.job(tested) + _start(order), load_words=bench.load_words, read=bench.load,
            word={name: word for name, (_, word) in trained.items()},
            device=bench.device.type, ranks=min(order.start.processes, torch.cuda.device_count()) or 1,
            disk=Disk(bench.weights, {name: bench.bytes_of(name, sides or {side: ""}) for name in tested}),
            any_size=patch_of(bench.victim.clip.model.visual) is not None,
            memory=Memory(taken(bench.device), bench.weights, bench.held.fitted(), free_memory(bench.device)),
        )  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """A store of its own at `home`, with the models of `order` and datasets of noise."""

    order: Order | Typed
    home: Home
    store: Home  # that of the models and the datasets
    side: int
    accelerator: Accelerator
    victim: Any
    mlm: Any
    load: float  # seconds
    load_words: float
    weights: dict[str, float] = field(default_factory=dict)  # bytes of what each method trains
    held: Held = field(default_factory=Held)

    @property
    def device(self) -> torch.device:
        return torch.device(self.accelerator.device)

    @cached_property
    def most(self) -> int:
        """The most images that are measured together, at most those of a block."""
        if _seconds(lambda: self._encode(1), self.device) > LONG:
            return 1
        n = LEAST
        while n < self.order.block and _seconds(lambda: self._encode(n), self.device) < ENOUGH:  # noqa: B023
            n = min(2 * n, self.order.block)
        return n

    @property
    def slow(self) -> bool:
        """Whether the model is so large for this machine that measuring it as often as a small one takes long."""
        return self.most <= LEAST

    @property
    def long(self) -> bool:
        """Whether it is so large that each thing is done for one image alone, and once."""
        return self.most == 1

    def training(self, method: MethodRow, *, compat: str = "") -> tuple[Cost, float]:
        """What a step of its own loss costs, and the seconds before the first for each class prompt."""
        has_steps = "steps" in options_of_method(method)
        few = min(FEW, self.most)
        sizes = [(few, 1, FEW), (self.most, 1, FEW), (few, 1, MANY), (self.most, 1, MANY)]
        sizes += [(self.most, self._steps, FEW), (few, self._steps, MANY)] if has_steps else []
        measured, began = list[tuple[Size, float]](), dict[int, float]()
        for classes in (FEW, MANY):  # one plan at a time, which holds a model
            spec = self.order.settings(PAPER).run(Cell(method.name, dataset_of(classes), "full"))
            spec = spec.changed(recipe="", **({"compat": compat} if compat else {}))
            began[classes], plan = _timed(partial(make_plan, spec, self.home), self.device)
            self.weights[method.name] = sum(tensor.nbytes for tensor in plan.victim.tensors().values())
            for n, steps in dict.fromkeys((n, steps) for n, steps, of in sizes if of == classes):
                took = self._update(plan, n, steps if has_steps else None)
                measured.append((Size(n, steps, classes, min(n, classes)), took))
            del plan
        stepwise = LEAK in parts(spec.compat)  # whose weights learn from every step of the attack
        return Cost.fitted(measured, stepwise=stepwise), max(0.0, began[MANY] - began[FEW]) / (MANY - FEW)

    def attack(self, name: str) -> Cost:
        """What its own examples cost, where those that it needs are there."""
        has_steps = "steps" in options_of([name]) and attacks.lookup(name).images
        sizes = [(min(FEW, self.most), 1, FEW), (self.most, 1, FEW), (self.most, 1, MANY)]
        sizes += [(self.most, self._steps, FEW)] if has_steps else []
        measured = [
            (
                Size(n, steps_of(self._test(name, n, steps, dataset_of(k)), name, classes=k), k, k),
                self._examples(name, n, steps, k),
            )
            for n, steps, k in dict.fromkeys(sizes)
        ]
        return Cost.fitted(measured)

    @property
    def _steps(self) -> int:
        return STEPS_OF_LONG if self.long else STEPS

    def _update(self, plan: Plan, n: int, steps: int | None) -> float:
        """Seconds of a step of the optimizer on `n` images."""
        options = {"batch_size": n, **({"steps": steps} if steps is not None else {})}
        plan = replace(plan, spec=plan.spec.changed(**options), indices=plan.indices[:n])
        victim = plan.victim.to(self.device).use_precision(plan.spec.precision)
        victim.freeze(plan.spec.tune)
        weights = [weight for weight in victim.parameters() if weight.requires_grad]
        still = replace(plan.spec.optimization, lr=0.0)  # it moves no weight: they are those of all measurements
        module, optimizer = self.accelerator.prepare(victim, make_optimizer(still, weights))
        original = original_of(plan, self.home, self.accelerator)

        def update() -> None:
            for step in batches(plan, module, self.accelerator, original=original, epoch=0):
                optimizer.zero_grad()
                self.accelerator.backward(loss_of(plan.row.loss)(step))
                optimizer.step()

        prompts = len(plan.dataset.info.class_names)
        with self.held.of(plan.row.name, images=n, prompts=min(n, prompts), weights=victim.parameters()):
            took = _seconds(update, self.device)  # makes the moments, too
        if not self.long:
            took = min(_seconds(update, self.device) for _ in range(1 if self.slow else AGAIN))
        optimizer.zero_grad()
        self.accelerator.free_memory()  # of the optimizer, which it keeps: three times the weights
        return took

    def _examples(self, name: str, n: int, steps: int, classes: int) -> float:
        """Seconds until the examples of `n` images are stored; by another seed they are others."""
        with self.held.of(name, images=n, prompts=min(n, classes), weights=self.victim.parameters()):
            first = _seconds(self._making(name, n, steps, dataset_of(classes), AGAIN + 1), self.device)
        if self.long:
            return first
        made = [self._making(name, n, steps, dataset_of(classes), seed) for seed in range(1 if self.slow else AGAIN)]
        return min(_seconds(one, self.device) for one in made)

    def job(self, tested: Mapping[str, Cost]) -> float:
        """Seconds of a job itself: a test of next to no images, from its names to its results in the index, without
        what these images take."""
        seeds = range(1, 2 if self.long else AGAIN + 1)
        specs = [self._test(CLEAN.name, FEW, 1, dataset_of(FEW)).changed(seed=seed) for seed in seeds]
        took = min(_seconds(partial(self._tested, spec), self.device) for spec in specs)
        return max(self.load, took - (tested[CLEAN.name].of(Size(FEW, 1, FEW, FEW)) if CLEAN.name in tested else 0.0))

    def _tested(self, spec: EvaluationSpec) -> None:
        job = Job(evaluate=spec)
        resolved = resolve(job, self.home)
        if resolved.subject and Known(self.home).outcome(job, resolved.subject) is None:
            evaluate([spec], resolved.subject, self.home, self.accelerator)

    def bytes_of(self, name: str, sides: Mapping[int, str]) -> dict[int, tuple[float, float]]:
        """Bytes of a set of examples as such, and for each image, by its side; of one side, where it makes none."""
        chosen = sides if attacks.lookup(name).images else {self.side: sides.get(self.side, "")}
        return {side: self._bytes_at(name, side, of) for side, of in chosen.items()}

    def _bytes_at(self, name: str, side: int, of: str) -> tuple[float, float]:
        dataset, makes = self._some(side, of), attacks.lookup(name).images

        def written(n: int) -> Path:  # the steps are for its images: those of another attack are none of its bytes
            return self._making(name, n, DISK_STEPS if makes else 1, dataset, 0)().path

        if self.long and makes:
            return bytes_of_one(written(1))
        few, most = (1, FEW) if self.long else (FEW, LEAST if self.slow else WEIGHED if side <= SMALL else FEWER)
        less, more = written(few).stat().st_size, written(most).stat().st_size
        each = (more - less) / (most - few)
        return less - few * each, each

    def _some(self, side: int, of: str) -> str:
        """The name of a dataset of images of this side: some of those of a dataset in the store, or noise."""
        name = f"some{side}"
        if not (self.home.datasets / f"{name}.h5").exists():
            images = taken_from(of, self.store, side) if of else noise(WEIGHED, side)
            write(self.home, name, NAMES[:FEW], {"test": images})
        return name

    def _making(self, name: str, n: int, steps: int, dataset: str, seed: int) -> Callable[[], ExampleSet]:
        spec = self._test(name, n, steps, dataset).changed(seed=seed)
        (trial,) = trials_of(spec, find_subject(spec, self.home), self.home)
        maker = Maker(trial, self.accelerator, self.victim, self.mlm)
        for need in attacks.lookup(name).needs:
            maker.examples(need)
        return lambda: maker.examples(name)

    def _test(self, name: str, n: int, steps: int, dataset: str) -> EvaluationSpec:
        cell = Cell(dataset=dataset, attack=name)
        return self.order.settings(Scale(limit=n, steps=steps)).test_of(self.order.model, cell)

    def _encode(self, n: int) -> None:
        with torch.no_grad():
            self.victim.encode_images(torch.rand(n, 3, self.side, self.side, device=self.device))


@contextmanager
def _bench(order: Order | Typed, home: Home, side: int) -> Iterator[Bench]:
    """A bench in a folder of its own, with the models of `home`; nothing is said meanwhile."""
    accelerator = Accelerator(cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()))
    quiet, err.quiet, frozen = err.quiet, True, gc.get_freeze_count()
    if not frozen:  # the search for garbage after each measurement is not to go through all libraries
        gc.freeze()
    try:
        with tempfile.TemporaryDirectory(prefix="mmcoa-") as folder:
            own = Home(Path(folder), f"sqlite:///{Path(folder) / 'index.db'}")
            link_models(own, home)
            for classes in (FEW, MANY):
                images = noise(order.block + MANY, side)
                write(own, dataset_of(classes), NAMES[:classes], {"train": images, "test": images})
            load, victim = _timed(lambda: _hashed(load_base(order.model, own)), accelerator.device)
            load_words, mlm = 0.0, None
            if mlm_path(order.mlm, own).exists():  # else nothing that is measured takes words from it
                load_words, mlm = _timed(lambda: _hashed(load_mlm(order.mlm, own)), accelerator.device)
            victim = victim.to(accelerator.device).use_precision(order.precision)
            yield Bench(order, own, home, side, accelerator, victim, mlm, load, load_words)
    finally:
        err.quiet = quiet
        accelerator.free_memory()
        if not frozen:
            gc.unfreeze()


def _hashed(model: T) -> T:
    """The model, of which every job needs the digest."""
    model.digest()  # type: ignore[attr-defined]
    return model


def _start(order: Order | Typed) -> float:
    """Seconds until a process is as far as this one: each job starts its own where there are several."""
    return 0.0 if order.start == Start() else time.time() - psutil.Process().create_time()


def _timed(work: Callable[[], T], device: torch.device) -> tuple[float, T]:
    """Seconds that `work` takes until the device has done it, and what it returns."""
    _wait(device)
    started = time.perf_counter()
    result = work()
    _wait(device)
    return time.perf_counter() - started, result


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    return _timed(work, device)[0]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
