"""Evaluations: one model, one dataset, one attack at a time; each leaves an example set and a row of the index.

A dataset is cut into fixed blocks, in dataset order. The block is the unit of resume and of sharing between processes,
so an evaluation is bit for bit the same however often it was interrupted and however many processes computed it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from store.datasets import Dataset
from store.examples import ExampleSet
from store.index import Index
from store.keys import key_of
from store.schema import Result, Run

from .. import __version__
from ..attacks.base import lookup, parts
from ..attacks.bert_attack import attack_prompts, collisions, prepare
from ..attacks.image import IMAGE
from ..attacks.pgd import pgd, random_start
from ..attacks.settings import BertAttackSettings
from ..attacks.text import TEXT
from ..datasets.fetching import open_classes
from ..datasets.pixels import attacked_at, load_pixels, to_unit
from ..datasets.prompts import class_prompts
from ..datasets.sampling import balanced_subset
from ..models.clip import Clip
from ..models.finite import require_finite
from ..models.masked_lm import MaskedLM
from ..models.present import DIGESTS, data_key
from ..models.subjects import load_mlm, load_subject, now, origin_of, seen_with
from ..models.token_rows import cut_by, require_distinct_prompts
from ..settings import Home
from ..tasks.classification import Classifier, classifier, distinct, judged, outcomes, success_rate
from ..tasks.intervals import wilson
from ..terminal.console import Task, progress
from .specs import EvaluationSpec

VERSION = 2  # part of every key: raise it when the same attack's set would hold other columns or notes
SPLIT = "test"
NEEDS = {"clean": (), "image": ("clean",), "text": ("clean",), "multimodal": ("clean", "image", "text")}

Ints = npt.NDArray[np.int64]


def evaluate(spec: EvaluationSpec, home: Home, accelerator: Accelerator) -> list[Result]:
    """Test what `spec.checkpoint` names on every dataset under every attack; what is stored is not computed again.

    Returns their results in the order asked. Raises UserError for names that are not there.
    """
    index = Index(home.database_url)
    datasets = [attacked_at(open_classes(name, home), spec.pixel_size) for name in spec.datasets]
    clip, run = load_subject(spec.checkpoint, home, index)
    clip = clip.to(accelerator.device).use_precision(spec.precision)
    for info in (dataset.info for dataset in datasets):
        require_distinct_prompts(clip, class_prompts(info.class_names, info.template), info.class_names)
    mlm = load_mlm(spec.mlm, home) if {"text", "multimodal"} & set(spec.attacks) else None
    weights, rows = clip.digest(), []
    if accelerator.is_main_process:
        run = seen_with(run, clip, weights, index)
    for dataset in datasets:
        trial = Trial(spec, home, accelerator, clip, weights, run, dataset, mlm)
        for attack in spec.attacks:
            started = time.monotonic()
            examples = trial.examples(attack)
            results = trial.results(attack, examples, seconds=time.monotonic() - started)
            if accelerator.is_main_process:
                found = index.evaluation(results[0].evaluation)
                if not found:
                    index.save_results(results)
                results = found or results
            rows += results
    return rows


@dataclass(frozen=True)
class Trial:
    """One model on one dataset, and the example sets of its attacks."""

    spec: EvaluationSpec
    home: Home
    accelerator: Accelerator
    clip: Clip
    weights: str  # the digest of `clip`
    run: Run
    dataset: Dataset
    mlm: MaskedLM | None

    @cached_property
    def indices(self) -> Ints:
        return balanced_subset(self.dataset.labels(SPLIT), self.spec.limit, seed=self.spec.seed)

    @cached_property
    def labels(self) -> Ints:
        labels: Ints = self.dataset.labels(SPLIT)[self.indices]
        return labels

    @cached_property
    def prompts(self) -> list[str]:
        return class_prompts(self.dataset.info.class_names, self.dataset.info.template)

    @cached_property
    def text_attack(self) -> BertAttackSettings:
        return BertAttackSettings(no_collisions=self.spec.no_collisions, compat=self.spec.compat)

    @cached_property
    def _mlm_digest(self) -> str:
        assert self.mlm is not None
        return self.mlm.digest()

    @property
    def limited(self) -> bool:
        return len(self.indices) < len(self.dataset.labels(SPLIT))

    def example_spec(self, attack: str) -> dict[str, Any]:
        """Everything that decides the content of an attack's example set; its hash is the set's key."""
        info = self.dataset.info
        spec = {
            "version": VERSION,
            "attack": attack,
            "digests": DIGESTS,
            "weights": self.weights,
            "data": {"checksum": info.checksum, "split": SPLIT, "pixel_size": info.pixel_size, "resize": info.resize},
            "subset": {"limit": self.spec.limit, "seed": self.spec.seed} if self.limited else None,
            "prompts": self.prompts,
            "precision": self.spec.precision,
        }
        if attack in ("image", "multimodal"):
            spec["image"] = {"version": IMAGE.version, "seed": self.spec.seed, **asdict(self.spec.image_attack)}
        if attack in ("text", "multimodal"):
            spec["text"] = {"version": TEXT.version, "mlm": self._mlm_digest, **asdict(self.text_attack)}
        return spec

    def examples(self, attack: str) -> ExampleSet:
        """The attack's example set, made (with those it needs) or finished where the store does not have it whole."""
        examples = ExampleSet(
            self.home.examples, self.example_spec(attack), n=len(self.indices), block_size=self.spec.batch_size
        )
        first = self.accelerator.is_main_process
        with examples.lock() if first else nullcontext():
            # the first process looks for all: another run may finish this very set at any moment
            found = examples.missing() if first and not examples.complete else None
            (missing,) = broadcast_object_list([found])
            if missing is not None:
                needed = {name: self.examples(name) for name in NEEDS[attack]}
                own = missing[self.accelerator.process_index :: self.accelerator.num_processes]
                self._make(attack, examples, needed, own)
            elif first:
                examples.finish()  # removes the parts of a set whose run was killed when it was whole
            self.accelerator.wait_for_everyone()
        return examples

    def _make(self, attack: str, examples: ExampleSet, needed: dict[str, ExampleSet], numbers: list[int]) -> None:
        adv_prompts = self._adv_prompts(attack, needed)
        classify = classifier(self.clip, adv_prompts or self.prompts)
        blocks, device = examples.blocks(), self.clip.device
        effort = self.spec.steps if attack == "image" else 1
        total, mine = effort * len(self.indices), effort * sum(len(blocks[i]) for i in numbers)
        title, quiet = f"{attack} on {self.dataset.info.name}", not self.accelerator.is_main_process
        unit = "steps" if attack == "image" else "images"  # a step of one image
        with progress(title, total=total, unit=unit, done=total - mine, quiet=quiet) as task:
            for number in numbers:
                block = blocks[number]
                pixels = load_pixels(self.dataset, SPLIT, self.indices[block.start : block.stop])
                if attack == "image":
                    images = self._pgd(classify, to_unit(pixels, device), block, task)
                elif attack == "multimodal":  # the image attack's own images: it needs no PGD
                    images = torch.from_numpy(needed["image"].images(block.start, block.stop, pixels)).to(device)
                else:
                    images = to_unit(pixels, device)
                if attack != "image":
                    task.advance(len(block))
                with torch.no_grad():
                    logits = require_finite(classify(images), f"the logits of {self.clip.name}")
                    columns = self._columns(block, logits, needed)
                stored = (pixels, images.cpu().numpy()) if attack == "image" else None
                examples.write_block(number, columns, stored)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            examples.finish(**self._extras(adv_prompts))

    def _pgd(self, classify: Classifier, images: Tensor, block: range, task: Task) -> Tensor:
        attack, indices = self.spec.image_attack, self.indices[block.start : block.stop].tolist()
        start = random_start(attack, images, indices=indices, seed=self.spec.seed)
        labels = torch.from_numpy(self.labels[block.start : block.stop]).to(self.clip.device)
        advance = partial(task.advance, len(block))
        return pgd(classify, images, labels, settings=attack, start=start, on_step=advance)

    def _columns(self, block: range, logits: Tensor, needed: dict[str, ExampleSet]) -> dict[str, npt.NDArray[Any]]:
        rows, labels = slice(block.start, block.stop), self.labels[block.start : block.stop]
        found = judged(logits, torch.from_numpy(labels).to(logits.device))
        clean = {name: needed["clean"].columns(name)[rows] for name in found} if "clean" in needed else found
        return {
            "index": self.indices[rows],
            "label": labels,
            "clean_prediction": clean["prediction"],
            "clean_credit": clean["credit"],
            **found,
            "outcome": outcomes(clean["credit"], found["credit"]),
        }

    def _adv_prompts(self, attack: str, needed: dict[str, ExampleSet]) -> list[str] | None:
        """Every class prompt's adversarial version, from the store where the text attack's set has them."""
        if attack == "multimodal":
            return needed["text"].texts("adversarial_prompts")
        if attack != "text":
            return None
        return attack_prompts(self.clip.embed_texts, self._text_target)

    @cached_property
    def _text_target(self) -> Any:
        assert self.mlm is not None
        names, is_cut = self.dataset.info.class_names, cut_by(self.clip)
        return prepare(self.prompts, names, mlm=self.mlm, settings=self.text_attack, is_cut=is_cut)

    def _extras(self, adv_prompts: list[str] | None) -> dict[str, Any]:
        if adv_prompts is None:
            return {"texts": {"prompts": self.prompts}}
        texts = {"prompts": self.prompts, "adversarial_prompts": adv_prompts}
        names = list(self.dataset.info.class_names)
        notes = {
            "collisions": collisions(adv_prompts, self.prompts, names),
            "distinct_prompts": distinct(self.clip, adv_prompts),
        }
        return {"texts": texts, "notes": notes}

    def results(self, attack: str, examples: ExampleSet, *, seconds: float) -> list[Result]:
        """The results of a finished example set: the accuracy, then what else was counted."""
        before, after = examples.columns("clean_credit"), examples.columns("credit")
        correct, right, notes = math.fsum(after), math.fsum(before), examples.notes
        clean = lookup(attack).changes_nothing
        main = "clean_accuracy" if clean else "robust_accuracy"
        result = partial(self._result, attack, examples, seconds)
        found = [result(main, correct / len(after), len(after), wilson(correct, len(after)))]
        success = success_rate(before, after)
        if not clean and success is not None:
            found.append(result("attack_success_rate", success, right, wilson(success * right, right)))
        for name in ("collisions", "distinct_prompts"):
            if name in notes:
                found.append(result(name, int(notes[name]) / len(self.prompts), len(self.prompts)))
        return found

    def _result(
        self,
        attack: str,
        examples: ExampleSet,
        seconds: float,
        metric: str,
        value: float,
        n: float,
        interval: tuple[float | None, float | None] = (None, None),
    ) -> Result:
        return Result(
            evaluation=key_of([self.run.id, examples.key, self.spec.seed, self.spec.compat]),
            metric=metric,
            run_id=self.run.id,
            dataset=self.dataset.info.name,
            task="classification",
            attack=attack,
            value=value,
            low=interval[0],
            high=interval[1],
            n=round(n),
            threat=self._threat(attack, examples.spec),
            setting=self._setting(examples),
            examples=examples.key,
            weights=self.weights,
            seed=self.spec.seed,
            seconds=round(seconds, 3),
            device=str(self.clip.device),
            version=__version__,
            created_at=now(),
        )

    def _threat(self, attack: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of each part of the attack; beside the digest of a masked LM its name, and where it is from."""
        named = {"mlm_name": self.mlm.name, "mlm_origin": origin_of(self.mlm)} if self.mlm else {}
        return {part.name: spec[part.name] | (named if part.masked_lm else {}) for part in parts(attack)}

    def _setting(self, examples: ExampleSet) -> dict[str, Any]:
        info = self.dataset.info
        return {
            "split": SPLIT,
            "limit": self.spec.limit if self.limited else None,
            "partial": bool(info.part(SPLIT)),
            "precision": self.spec.precision,
            "compat": self.spec.compat,
            "batch_size": examples.block_size,
            "part": info.part(SPLIT),
            "pixel_size": info.pixel_size,
            "data": data_key(info.checksum, self.prompts),
            "digests": DIGESTS,
        }
