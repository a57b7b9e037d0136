"""A short measurement of this machine: each method's own loss and each attack's own examples, of a few images.

The images are noise, and the class names are of one to three words: the time of a prompt depends on its length, that of
an image on its number. Nothing is left of it: all lies in a folder that is removed.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil  # type: ignore[import-untyped]
import torch
from accelerate import Accelerator

from store.dataset_writing import DatasetWriter
from store.examples import ExampleSet

from .. import attacks, catalog
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
from ..models.memory import counted, free_memory
from ..models.stored_lm import WORDS
from ..settings import Home
from ..terminal.console import err
from .request import Work
from .speed import Cost, Measured, Size, Speed, fitted, steps_of

NAMES = ("cat", "pickup truck", "oak tree", "airplane", "aquarium fish", "bottle", "dining room table", "sun")
FEW, MANY = 2, len(NAMES)  # classes, and the fewest images
STEPS = 6  # of an attack, beside 1
ENOUGH = 0.1  # seconds in which the most images that are measured together are encoded
AGAIN = 2  # times that each size is measured once more, of which the shortest counts
LEAST = 4  # images that are measured together: a model that takes ENOUGH for them is measured once more only
LONG, STEPS_OF_LONG = 0.3, 2  # seconds of one image from which on one image is all that is measured, in so many steps
JOBS = 100  # the first seed of whole jobs: no examples of theirs are there already
T = TypeVar("T")


def measure(work: Work, home: Home, *, side: int) -> Speed:
    """Time the models of `work`, which must be in the store, on this machine, with images of `side` pixels squared."""
    choose_kernels(torch)  # before anything runs on the device: what follows in this process takes these kernels
    with _bench(work, home, side) as bench:
        trained = {row.name: bench.training(row) for row in work.methods}
        leaking = [row for row in work.methods if work.leaks and IMAGE.name in row.attacks]
        run = {*work.attacks, *(row.offline for row in work.methods if row.offline)}
        tested = {attack.name: bench.attack(attack.name) for attack in with_needs(run)}
        return Speed(
            trained, tested, {row.name: bench.training(row, compat=LEAK) for row in leaking},
            load=bench.job(tested) + _start(work), load_words=bench.load_words, read=bench.load,
            device=bench.device.type, ranks=min(work.start.processes, torch.cuda.device_count()) or 1,
            any_size=patch_of(bench.victim.clip.model.visual) is not None,
            base=_taken(bench.device), free=free_memory(bench.device),
        )  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """A store of its own at `home`, with the models of `work` and datasets of noise."""

    work: Work
    home: Home
    side: int
    accelerator: Accelerator
    victim: Any
    mlm: Any
    load: float  # seconds
    load_words: float

    @property
    def device(self) -> torch.device:
        return torch.device(self.accelerator.device)

    @cached_property
    def most(self) -> int:
        """The most images that are measured together, at most those of a block; one, of a model that is very large for
        this machine."""
        if _seconds(lambda: self._encode(1), self.device) > LONG:
            return 1
        n = LEAST
        while n < self.work.block and _seconds(lambda: self._encode(n), self.device) < ENOUGH:  # noqa: B023
            n = min(2 * n, self.work.block)
        return n

    @property
    def again(self) -> int:
        """How many times a thing is measured once more: the larger the model is for this machine, the fewer."""
        return 0 if self.most == 1 else 1 if self.most <= LEAST else AGAIN

    @property
    def steps(self) -> int:
        return STEPS_OF_LONG if self.most == 1 else STEPS

    def training(self, method: MethodRow, *, compat: str = "") -> Cost:
        """What a step of its own loss costs, and before the first each class prompt."""
        has_steps = "steps" in options_of_method(method)
        few = min(FEW, self.most)
        sizes = [(few, 1, FEW), (self.most, 1, FEW), (few, 1, MANY), (self.most, 1, MANY)]
        sizes += [(self.most, self.steps, FEW), (few, self.steps, MANY)] if has_steps else []
        measured, began, weights = list[Measured](), list[float](), 0.0
        for classes in (FEW, MANY):  # one plan at a time, which holds a model
            spec = self.work.settings.run(Cell(method.name, _noise_of(classes), "full"))
            spec = spec.changed(recipe="", **({"compat": compat} if compat else {}))
            seconds, plan = _timed(partial(make_plan, spec, self.home), self.device)
            began.append(seconds)
            weights = sum(tensor.nbytes for tensor in plan.victim.tensors().values())
            for n, steps in dict.fromkeys((n, steps) for n, steps, of in sizes if of == classes):
                size = Size(n, steps, classes, min(n, classes))
                measured.append(self._update(plan, size, {"steps": steps} if has_steps else {}))
            del plan
        stepwise = LEAK in parts(spec.compat)  # whose weights learn from every step of the attack
        word = max(0.0, began[1] - began[0]) / (MANY - FEW)
        return fitted(measured, stepwise=stepwise, weights=weights, word=word)

    def attack(self, name: str) -> Cost:
        """What its own examples cost, where those that it needs are there."""
        has_steps = "steps" in options_of([name]) and attacks.lookup(name).images
        sizes = [(min(FEW, self.most), 1, FEW), (self.most, 1, FEW), (self.most, 1, MANY)]
        sizes += [(self.most, self.steps, FEW)] if has_steps else []
        return fitted([self._examples(name, *size) for size in dict.fromkeys(sizes)])

    def job(self, tested: dict[str, Cost]) -> float:
        """Seconds of a job itself: a test of next to no images, from its names to its results in the index, without
        what these images take."""
        spec = self._test(CLEAN.name, FEW, 1, FEW)
        jobs = [partial(self._tested, spec.changed(seed=JOBS + n)) for n in range(max(1, self.again))]
        took = min(_seconds(job, self.device) for job in jobs)
        return max(self.load, took - (tested[CLEAN.name].of(Size(FEW, 1, FEW, FEW)) if CLEAN.name in tested else 0.0))

    def _update(self, plan: Plan, size: Size, options: dict[str, int]) -> Measured:
        """A step of the optimizer; the first makes its moments, too."""
        n = int(size.images)
        plan = replace(plan, spec=plan.spec.changed(batch_size=n, **options), indices=plan.indices[:n])
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

        measured = self._measured(size, [update] * (1 + self.again), victim)
        optimizer.zero_grad()
        self.accelerator.free_memory()  # of the optimizer, which it keeps: three times the weights
        return measured

    def _examples(self, name: str, n: int, steps: int, classes: int) -> Measured:
        """The examples of `n` images, until they are stored; by another seed they are others."""
        spec = self._test(name, n, steps, classes)
        size = Size(n, steps_of(spec, name, classes=classes), classes, classes)
        every = [self._making(name, spec.changed(seed=seed)) for seed in range(1 + self.again)]
        return self._measured(size, every, self.victim)

    def _measured(self, size: Size, every: Sequence[Callable[[], object]], victim: Any) -> Measured:
        """The shortest of what is done alike; of the first it is seen what is held, and it is not timed where there are
        others."""
        with counted(victim.parameters()) as held:
            took = [_seconds(every[0], self.device)]
        gc.collect()
        took += [_seconds(one, self.device) for one in every[1:]]
        return Measured(size, min(took[1:] or took), held.most)

    def _tested(self, spec: EvaluationSpec) -> None:
        job = Job(evaluate=spec)
        resolved = resolve(job, self.home)
        if resolved.subject and Known(self.home).outcome(job, resolved.subject) is None:
            evaluate([spec], resolved.subject, self.home, self.accelerator)

    def _making(self, name: str, spec: EvaluationSpec) -> Callable[[], ExampleSet]:
        (trial,) = trials_of(spec, find_subject(spec, self.home), self.home)
        maker = Maker(trial, self.accelerator, self.victim, self.mlm)
        for need in attacks.lookup(name).needs:
            maker.examples(need)
        return lambda: maker.examples(name)

    def _test(self, name: str, n: int, steps: int, classes: int) -> EvaluationSpec:
        settings = self.work.settings
        settings = replace(settings, test={**settings.test, "limit": n, "steps": steps})
        return settings.test_of(self.work.model, Cell(dataset=_noise_of(classes), attack=name))

    def _encode(self, n: int) -> None:
        with torch.no_grad():
            self.victim.encode_images(torch.rand(n, 3, self.side, self.side, device=self.device))


@contextmanager
def _bench(work: Work, home: Home, side: int) -> Iterator[Bench]:
    """A bench in a folder of its own, with the models of `home`; nothing is said meanwhile."""
    accelerator = Accelerator(cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()))
    quiet, err.quiet, frozen = err.quiet, True, gc.get_freeze_count()
    if not frozen:  # the search for garbage after each measurement is not to go through all libraries
        gc.freeze()
    try:
        with tempfile.TemporaryDirectory(prefix="mmcoa-") as folder:
            own = Home(Path(folder), f"sqlite:///{Path(folder) / 'index.db'}")
            _link_models(own, home)
            for classes in (FEW, MANY):
                _write_noise(own, classes, images=work.block + MANY, side=side)
            load, victim = _timed(lambda: _hashed(load_base(work.model, own)), accelerator.device)
            load_words, mlm = 0.0, None
            if mlm_path(work.mlm, own).exists():  # else nothing that is measured takes words from it
                load_words, mlm = _timed(lambda: _hashed(load_mlm(work.mlm, own)), accelerator.device)
            victim = victim.to(accelerator.device).use_precision(work.precision)
            yield Bench(work, own, side, accelerator, victim, mlm, load, load_words)
    finally:
        err.quiet = quiet
        accelerator.free_memory()
        if not frozen:
            gc.unfreeze()


def _link_models(own: Home, home: Home) -> None:
    """The models of `home`; of masked LMs the files one by one, so that what they say is not remembered there."""
    own.models.mkdir()
    for part in home.models.absolute().iterdir():
        if part.name != own.mlms.name:
            (own.models / part.name).symlink_to(part)
    for file in home.mlms.absolute().glob("*/*") if home.mlms.exists() else ():
        if file.name != WORDS:
            place = own.mlms / file.parent.name / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(file)


def _noise_of(classes: int) -> str:
    """The name of the dataset of noise that has so many classes."""
    return f"noise{classes}"


def _write_noise(home: Home, classes: int, *, images: int, side: int) -> None:
    """A dataset of noise, whose classes take turns."""
    pixels = np.random.default_rng(0).integers(256, size=(images, side, side, 3), dtype=np.uint8)
    name = _noise_of(classes)
    writer = DatasetWriter(
        home.datasets / f"{name}.h5", name=name, class_names=NAMES[:classes], pixel_size=side, resize=None,
        template=catalog.TEMPLATE, source="measuring", image_size=side,
    )  # fmt: skip
    with writer as out:
        for split in ("train", "test"):
            for number, image in enumerate(pixels):
                out.add(split, image, number % classes)


def _hashed(model: T) -> T:
    """The model, of which every job needs the digest."""
    model.digest()  # type: ignore[attr-defined]
    return model


def _start(work: Work) -> float:
    """Seconds until a process is as far as this one: each job starts its own where there are several."""
    return 0.0 if work.start == Start() else time.time() - psutil.Process().create_time()


def _taken(device: torch.device) -> float:
    """Bytes of memory that this process has taken there."""
    if device.type == "cuda":
        return float(torch.cuda.memory_allocated(device))
    return float(psutil.Process().memory_info().rss)


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
