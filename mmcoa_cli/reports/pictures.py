"""What an attack did, to look at: the example set of a result, or one in a file that somebody names; its images before
and under the attack, and the prompts that were written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from store.datasets import Dataset
from store.errors import UserError
from store.example_reading import stored_texts
from store.examples import ExampleSet, stored_set
from store.index import Index
from store.keys import key_of

from ..attacks import ATTACKS
from ..datasets.library import attacked_at, dataset_path, open_dataset, registered_datasets
from ..jobs.trials import identity_of_need
from ..settings import Home
from ..tasks import TASKS, Task

if TYPE_CHECKING:  # commands that draw nothing do without what decodes images
    from store.schema import Result

    from ..datasets.pixels import Pixels

KEY = re.compile(r"[0-9a-f]{4,40}")  # or its beginning
ENDING = ".h5"
LARGEST = 4096  # pixels of a side
MOST, CAPTIONS = 6, 20  # images, and captions, that are shown
GREY = 127.5


@dataclass(frozen=True)
class Source:
    """An example set in a file, and what it was made of; `run` is empty where the index does not say."""

    path: Path
    attack: str
    task: str
    dataset: str
    split: str
    pixel_size: int | None
    run: str = ""

    @property
    def title(self) -> str:
        return f"{self.attack} attack on {self.dataset}" + (f", {self.run}" if self.run else "")


def examples_path(result: Result, home: Home) -> Path:
    """The file of the example set that a result was measured on."""
    return home.examples / f"{result.examples}{ENDING}"


def source_of(result: Result, home: Home) -> Source:
    """What a result was measured on."""
    setting = result.setting
    return Source(
        examples_path(result, home), result.attack, result.task, result.dataset, str(setting["split"]),
        setting.get("pixel_size"), result.run_id,
    )  # fmt: skip


def named(name: str, home: Home) -> Path | None:
    """The file of the example set that has this path, or whose key begins so; None where it names none.

    Raises UserError for a path where there is nothing, and for the beginning of several keys.
    """
    if name.endswith(ENDING):
        path = Path(name).expanduser()
        if not path.exists():
            raise UserError(f"there is no file {name}", hint="mmcoa attack prints where the examples lie")
        return path
    found = sorted(home.examples.glob(f"{name}*{ENDING}")) if KEY.fullmatch(name) else []
    if len(found) > 1:
        raise UserError(f"{len(found)} example sets have a key that begins with {name}", hint="type more of it")
    return found[0] if found else None


def source_in(path: Path, home: Home) -> Source:
    """What the file of an example set says that it was made of; the index knows of which run.

    Raises UserError for a damaged file, and where the attack, or the dataset, is not here.
    """
    spec = stored_set(path).spec
    try:
        attack, task, data = spec["attack"], spec.get("task", "classification"), spec["data"]
        checksum, split, pixel_size = (data[name] for name in ("checksum", "split", "pixel_size"))
        known, there = attack in ATTACKS, task in TASKS
        if not isinstance(pixel_size, int) or not 0 < pixel_size <= LARGEST:
            raise ValueError(f"images of {pixel_size} pixels")
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path} does not say what it was made of", hint="evaluate again") from error
    if not known or not there:
        raise UserError(f"{path} is of an attack or a task that is not here", hint="mmcoa list attacks")
    measured = [result for _, result in Index(home.database_url).results(examples=[path.stem])]
    run = measured[-1].run_id if measured else ""
    return Source(path, attack, task, _dataset_of(checksum, home), str(split), pixel_size, run)


def _dataset_of(checksum: object, home: Home) -> str:
    """The name of the dataset that has this checksum."""
    for name in registered_datasets(home):
        if Dataset.info_of(dataset_path(name, home)).checksum == checksum:
            return name
    raise UserError("no dataset in the store is the one of these examples", hint="mmcoa fetch DATASET")


@dataclass(frozen=True)
class Picture:
    """An image of a test set before and under an attack, (S, S, 3): `clean` in 0..255, `adversarial` in [0, 1]. `said`
    has what the model took it for, before and under the attack, and `sure` how probable these were, where that is
    known; `label` is what it is."""

    index: int
    label: str
    said: tuple[str, str]
    clean: Pixels
    adversarial: npt.NDArray[np.float32]
    sure: tuple[float, float] | None = None

    @property
    def words(self) -> tuple[str, str]:
        """What the model took it for, and how sure it was: "cat 91%", "dog 78%"."""
        before, after = (f" {share:.0%}" for share in self.sure) if self.sure else ("", "")
        return self.said[0] + before, self.said[1] + after

    @property
    def shown(self) -> Pixels:
        """The adversarial image, rounded to 8 bits."""
        return np.rint(self.adversarial * 255).astype(np.uint8)

    @property
    def reach(self) -> float:
        """The largest change of a value, in 1/255."""
        return float(np.abs(self.adversarial * 255.0 - self.clean).max())

    @property
    def factor(self) -> float:
        """How much `perturbation` enlarges what was added."""
        return GREY / max(self.reach, 1e-9)

    @property
    def perturbation(self) -> Pixels:
        """What was added, grey for nothing, so enlarged that the largest change is black or white."""
        change = self.adversarial * 255.0 - self.clean
        pixels: Pixels = np.rint(GREY + change * self.factor).astype(np.uint8)
        return pixels


def pictures(source: Source, home: Home, *, most: int = MOST) -> list[Picture]:
    """Some of the images of an example set: those that the attack turned first, of as many classes as there are.

    Raises UserError where the examples or the dataset are not there as they were, or do not fit each other.
    """
    examples = stored_set(source.path)
    dataset = _dataset(source, examples, home)
    own = _with_images(source, examples, home)
    try:
        return [_picture(row, source, examples, own, dataset) for row in _chosen(examples, TASKS[source.task], most)]
    except (LookupError, ValueError, TypeError) as error:  # what is written in a file need not be true
        raise UserError(f"{source.path} does not fit the dataset {source.dataset}", hint="evaluate again") from error


def _picture(row: int, source: Source, examples: ExampleSet, own: ExampleSet, dataset: Dataset) -> Picture:
    """The picture of one sample. Raises ValueError for pixels that are none."""
    from ..datasets.pixels import load_pixels

    task, index = TASKS[source.task], examples.columns("index")
    clean = load_pixels(dataset, source.split, index[row : row + 1])
    label, before, after = task.words(dataset.info, examples.values, row)
    adversarial = own.images(row, row + 1, clean)[0].transpose(1, 2, 0)
    if not ((adversarial >= 0) & (adversarial <= 1)).all():
        raise ValueError("a pixel is outside [0, 1]")
    sure = task.sure(examples.values, row)
    return Picture(int(index[row]), label, (before, after), clean[0], adversarial, sure)


def prompts(source: Source, home: Home) -> list[tuple[str, str, str]]:
    """(class, clean, adversarial) of every class prompt, or of the first captions that were changed; none where no text
    attack took part. Raises UserError where they do not fit the dataset."""
    texts = stored_texts(source.path)
    if "adversarial_prompts" not in texts:
        return []
    names = Dataset.info_of(dataset_path(source.dataset, home)).class_names
    clean, adversarial = texts.get("prompts", []), texts["adversarial_prompts"]
    if len(clean) != len(adversarial) or (names and len(names) != len(clean)):
        raise UserError(f"{source.path} does not fit the dataset {source.dataset}", hint="evaluate again")
    pairs = list(zip(clean, adversarial, strict=True))
    if not names:
        changed = [(f"caption {number}", *pair) for number, pair in enumerate(pairs) if pair[0] != pair[1]]
        return changed[:CAPTIONS]
    return [(name, *pair) for name, pair in zip(names, pairs, strict=True)]


def words_of(clean: str, adversarial: str) -> list[tuple[str, bool]]:
    """The words of an adversarial text, and whether each is new."""
    old, new = clean.split(" "), adversarial.split(" ")
    kept = {
        place
        for tag, _, _, first, last in SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if tag == "equal"
        for place in range(first, last)
    }
    return [(word, place not in kept) for place, word in enumerate(new)]


def _dataset(source: Source, examples: ExampleSet, home: Home) -> Dataset:
    """What was attacked. Raises UserError where the dataset of that name has other images by now."""
    dataset = attacked_at(open_dataset(source.dataset, home), source.pixel_size)
    if dataset.info.checksum != examples.spec["data"]["checksum"]:
        raise UserError(
            f"the dataset {source.dataset} was replaced since these examples were made",
            hint="mmcoa evaluate makes them anew",
        )
    return dataset


def _with_images(source: Source, examples: ExampleSet, home: Home) -> ExampleSet:
    """The set that has the images: its own, or that of the attack whose images it shows, which lies beside it or in the
    store."""
    other = ATTACKS[source.attack].images_of
    if not other:
        return examples
    name = f"{key_of(identity_of_need(examples.spec, source.attack, other))}{ENDING}"
    beside = source.path.with_name(name)
    return stored_set(beside if beside.exists() else home.examples / name)


def _chosen(examples: ExampleSet, task: Task, most: int) -> list[int]:
    """Samples of as many classes as there are: of each first one that the attack turned."""
    labels, turned = examples.columns("label"), task.turned(examples.values)
    order = sorted(range(examples.n), key=lambda row: (not turned[row], row))
    firsts = {int(labels[row]): row for row in reversed(order)}
    rest = [row for row in order if row not in firsts.values()]
    return sorted([*sorted(firsts.values(), key=lambda row: (not turned[row], row)), *rest][:most])
