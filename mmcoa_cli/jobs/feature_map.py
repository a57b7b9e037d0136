"""Where a model puts images before and under an attack: the mean cosine of the two, and a plane for the eye (t-SNE).

The cosine is a measurement; the plane is a picture. t-SNE keeps neighbours and nothing else: distances between groups,
and their sizes, say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator

from store.errors import UserError

from .. import attacks
from ..datasets.pixels import load_pixels, to_unit
from ..models.subjects import load_mlm, load_subject
from ..settings import Home
from .evaluation import Maker
from .evaluation_spec import EvaluationSpec
from .preflight import resolve
from .subject import Subject
from .trials import Ints, Trial, trials_of
from .worker import Job

COMPONENTS = 50  # of the PCA before t-SNE, as its authors advise
PERPLEXITY = 30.0

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FeatureMap:
    """Of `n` images: their place in the plane before and under the attack, (n, 2), their labels, and the cosine of
    their two embeddings, (n,)."""

    run: str
    dataset: str
    attack: str
    class_names: tuple[str, ...]
    labels: Ints
    clean: Floats
    adversarial: Floats
    cosines: Floats

    @property
    def mean_cosine(self) -> float:
        """Of the clean and the adversarial features of each image."""
        return float(self.cosines.mean(dtype=np.float64))

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "clean": self.clean,
            "adversarial": self.adversarial,
            "cosines": self.cosines,
            "labels": self.labels,
        }
        return {
            **{"run": self.run, "dataset": self.dataset, "attack": self.attack, "mean_cosine": self.mean_cosine},
            **{name: array.tolist() for name, array in arrays.items()},
        }


def maps_of(specs: Sequence[EvaluationSpec], home: Home) -> list[FeatureMap]:
    """A map for each dataset of each of these, whose one attack is one on images. Raises UserError for another."""
    for spec in specs:
        if not all(attacks.lookup(name).images for name in spec.attacks):
            raise UserError(
                f"the attack {spec.attacks[0]} makes no images of its own", hint="--attack image, or another on images"
            )
    pairs = [(spec, resolve(Job(evaluate=spec), home).subject) for spec in specs]
    return [one for spec, subject in pairs if subject for one in feature_maps(spec, subject, home)]


def feature_maps(spec: EvaluationSpec, subject: Subject, home: Home) -> list[FeatureMap]:
    """One for each dataset of `spec`, under its one attack; examples that are stored are used."""
    accelerator = Accelerator(cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()))
    victim = load_subject(subject.run, home, epoch=subject.epoch).to(accelerator.device).use_precision(spec.precision)
    (attack,), found = spec.attacks, []
    for trial in trials_of(spec, subject, home):
        trial.task.require(victim, trial.drawn)
        maker = Maker(trial, accelerator, victim, load_mlm(spec.mlm, home) if spec.takes_words else None)
        clean, adversarial = (np.concatenate(part) for part in zip(*_embedded(maker, attack), strict=True))
        found.append(_placed(trial, attack, clean, adversarial))
    return found


def plane(features: Floats, *, seed: int) -> Floats:
    """Features (n, D) -> (n, 2): PCA to at most 50 components, then t-SNE from the first two; the same by each seed."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    components = min(COMPONENTS, *features.shape)
    reduced = PCA(components, svd_solver="full").fit_transform(features.astype(np.float64))
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    found: Floats = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
    return found.astype(np.float32)


@torch.no_grad()
def _embedded(maker: Maker, attack: str) -> Iterator[tuple[Floats, Floats]]:
    """The unit embeddings of each block, clean and attacked."""
    with torch.enable_grad():
        examples = maker.examples(attack)
    trial, victim = maker.trial, maker.victim
    for block in examples.blocks():
        pixels = load_pixels(trial.dataset, trial.split, trial.indices[block.start : block.stop])
        attacked = torch.from_numpy(examples.images(block.start, block.stop, pixels)).to(victim.device)
        both = (victim.encode_images(images) for images in (to_unit(pixels, victim.device), attacked))
        clean, adversarial = (features.cpu().numpy() for features in both)
        yield clean, adversarial


def _placed(trial: Trial, attack: str, clean: Floats, adversarial: Floats) -> FeatureMap:
    places = plane(np.concatenate([clean, adversarial]), seed=trial.spec.seed)
    return FeatureMap(
        run=trial.subject.run.id,
        dataset=trial.dataset.info.name,
        attack=attack,
        class_names=tuple(trial.dataset.info.class_names),
        labels=trial.labels,
        clean=places[: len(clean)],
        adversarial=places[len(clean) :],
        cosines=(clean.astype(np.float64) * adversarial).sum(axis=1).astype(np.float32),
    )
