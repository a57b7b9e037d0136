"""What an attack did, to look at: images before and under it, and the prompts that it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from store.datasets import Dataset
from store.errors import UserError
from store.examples import ExampleSet, stored_set, stored_texts
from store.keys import key_of

from ..attacks import ATTACKS
from ..datasets.library import attacked_at, dataset_path, open_dataset
from ..jobs.trials import identity_of_need
from ..settings import Home
from ..tasks import TASKS, Task

if TYPE_CHECKING:  # commands that draw nothing do without what decodes images
    from store.schema import Result

    from ..datasets.pixels import Pixels

MOST, CAPTIONS = 6, 20  # images, and captions, that are shown
GREY = 127.5


@dataclass(frozen=True)
class Picture:
    """An image of a test set before and under an attack, (S, S, 3): `clean` in 0..255, `adversarial` in [0, 1]. `said`
    has what the model took it for, before and under the attack; `label` is what it is."""

    index: int
    label: str
    said: tuple[str, str]
    clean: Pixels
    adversarial: npt.NDArray[np.float32]

    @property
    def shown(self) -> Pixels:
        """The adversarial image, rounded to 8 bits."""
        return np.rint(self.adversarial * 255).astype(np.uint8)

    @property
    def reach(self) -> float:
        """The largest change of a value, in 1/255."""
        return float(np.abs(self.adversarial * 255.0 - self.clean).max())

    @property
    def perturbation(self) -> Pixels:
        """What was added, grey for nothing, so enlarged that the largest change is black or white."""
        change = self.adversarial * 255.0 - self.clean
        pixels: Pixels = np.rint(GREY + change * (GREY / max(self.reach, 1e-9))).astype(np.uint8)
        return pixels


def examples_path(result: Result, home: Home) -> Path:
    """The file of the example set that a result was measured on."""
    return home.examples / f"{result.examples}.h5"


def pictures(result: Result, home: Home, *, most: int = MOST) -> list[Picture]:
    """Some of the images that a result was measured on: those that the attack turned first, of as many classes as there
    are.

    Raises UserError where the examples or the dataset are not there as they were.
    """
    from ..datasets.pixels import load_pixels

    examples, task = stored_set(examples_path(result, home)), TASKS[result.task]
    dataset = _dataset(result, examples, home)
    own, index = _with_images(result.attack, examples, home), examples.columns("index")
    found = []
    for row in _chosen(examples, task, most):
        clean = load_pixels(dataset, str(result.setting["split"]), index[row : row + 1])
        label, *said = task.words(dataset.info, examples.values, row)
        adversarial = own.images(row, row + 1, clean)[0].transpose(1, 2, 0)
        found.append(Picture(int(index[row]), label, (said[0], said[1]), clean[0], adversarial))
    return found


def prompts(result: Result, home: Home) -> list[tuple[str, str, str]]:
    """(class, clean, adversarial) of every class prompt, or of the first captions that were changed; none where no text
    attack took part."""
    texts = stored_texts(examples_path(result, home))
    if "adversarial_prompts" not in texts:
        return []
    names = Dataset.info_of(dataset_path(result.dataset, home)).class_names
    pairs = list(zip(texts["prompts"], texts["adversarial_prompts"], strict=True))
    if not names:
        changed = [(f"caption {number}", *pair) for number, pair in enumerate(pairs) if pair[0] != pair[1]]
        return changed[:CAPTIONS]
    return [(name, *pair) for name, pair in zip(names, pairs, strict=True)]


def _dataset(result: Result, examples: ExampleSet, home: Home) -> Dataset:
    """What was attacked. Raises UserError where the dataset of that name has other images by now."""
    dataset = attacked_at(open_dataset(result.dataset, home), result.setting.get("pixel_size"))
    if dataset.info.checksum != examples.spec["data"]["checksum"]:
        raise UserError(
            f"the dataset {result.dataset} was replaced since these examples were made",
            hint="mmcoa evaluate makes them anew",
        )
    return dataset


def _with_images(attack: str, examples: ExampleSet, home: Home) -> ExampleSet:
    """The set that has the images: its own, or that of the attack whose images it shows."""
    other = ATTACKS[attack].images_of
    if not other:
        return examples
    return stored_set(home.examples / f"{key_of(identity_of_need(examples.spec, attack, other))}.h5")


def _chosen(examples: ExampleSet, task: Task, most: int) -> list[int]:
    """Samples of as many classes as there are: of each first one that the attack turned."""
    labels, turned = examples.columns("label"), task.turned(examples.values)
    order = sorted(range(examples.n), key=lambda row: (not turned[row], row))
    firsts = {int(labels[row]): row for row in reversed(order)}
    rest = [row for row in order if row not in firsts.values()]
    return sorted([*sorted(firsts.values(), key=lambda row: (not turned[row], row)), *rest][:most])
