"""The rows of a report: one result each, with its interval and the paper's number where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Row:
    """One result. `value`, `ci95`, `paper` and `attack_success_rate` are fractions in [0, 1].

    What an attack does not have is None: `norm` to `stop_when_fooled` belong to the image attack, `mlm` to
    `distinct_prompts` to the text attack, and a multimodal attack has both.
    """

    method: str
    model: str
    source: str  # the training dataset, empty for zero-shot
    shots: str
    dataset: str
    attack: str
    metric: str
    compat: str  # of the evaluation; `train_compat` is the training run's
    value: float
    n: int
    ci95: tuple[float, float]
    seed: int
    run: str
    evaluation: str
    paper: float | None = None
    paper_note: str = ""  # what sets the paper's number apart from this result
    paper_full: float | None = None  # the paper's number after full training, where this run saw fewer images
    attack_success_rate: float | None = None
    norm: str | None = None
    eps: str | None = None
    alpha: str | None = None
    steps: int | None = None
    stop_when_fooled: bool | None = None
    pixel_size: int | None = None  # the side of the images that were attacked
    mlm: str | None = None
    mlm_origin: str | None = None  # as `origin`
    max_words_changed: int | None = None
    no_collisions: bool | None = None
    collisions: int | None = None  # of `prompts` adversarial prompts, those that name another class
    distinct_prompts: int | None = None  # of them, how many are different to the model
    prompts: int | None = None
    origin: str = "published"  # where the CLIP model is from: published, own or stand-in
    sha256: str = ""  # of the file of an own model
    limit: int | None = None
    partial: bool = False  # some classes of the dataset have no image
    part: str = ""  # which part of the test set the images are, as "400 of 1,880 test images"; empty for the whole
    data: str = ""  # the beginning of the dataset's checksum
    precision: str = "fp32"
    train_seed: int = 0
    train_compat: str = "none"
    training: str = ""  # the settings of the training run that are not the paper's
    train_part: str = ""  # which part of the training images the run was trained on; empty for the whole
    weights: str = ""  # the digest of the weights that were tested; empty where it was not recorded
    earlier_weights: bool = False  # the run or model of this name has other weights by now
    earlier_data: bool = False  # the dataset of this name has other images or prompts by now
    earlier_mlm: bool = False  # the masked LM of this name is another by now
    mlm_weights: str = ""  # the digest of the masked LM
    base: str = ""  # the digest of the weights that the run was trained from
    recipe: str = ""  # of the training: runs that share it differ in nothing but their seed
    earlier_base: bool = False  # the model of that name has other weights by now
    image_version: int | None = None  # of the code of the image attack
    text_version: int | None = None
    digests: int = 1  # how models were hashed when it was measured
    earlier_code: bool = False  # the report has results by a newer version of the attack, or of mmcoa
    # these two are in no format as they are; `get` finds what is in them
    threat: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # the settings of each part of the attack
    setting: Mapping[str, Any] = field(default_factory=dict)  # what it was measured on, and how
    epochs: int = 0  # of its run

    def get(self, name: str) -> Any:
        """A field, an option of the attack, or what the index says of the measurement; None where there is no such."""
        if name == "epoch":
            return self.epoch
        found = getattr(self, name, None) if name in COLUMNS else None
        if found is None:
            found = self.options.get(name)
        return self.setting.get(name) if found is None else found

    @property
    def epoch(self) -> int:
        """After how many epochs of its run it was tested; 0 for a model as it comes."""
        return self.before_the_last or self.epochs

    @property
    def before_the_last(self) -> int | None:
        """The same, None where its run was tested as it is in the end."""
        found = self.setting.get("epoch")
        return found if isinstance(found, int) else None

    @property
    def options(self) -> dict[str, Any]:
        """The options of all parts of the attack; its own come before those of what it needs."""
        own = self.threat.get(self.attack, {})
        return {name: value for part in (*self.threat.values(), own) for name, value in part.items()}

    @property
    def further(self) -> dict[str, Any]:
        """The options, and the versions of the parts, that are no fields of a row."""
        versions = {f"{name}_version": part.get("version") for name, part in self.threat.items()}
        epoch = {"epoch": self.before_the_last} if self.before_the_last else {}
        told = {**epoch, **self.options, **versions}
        return {name: value for name, value in told.items() if name not in (*COLUMNS, *UNLISTED)}

    @property
    def measure(self) -> str:
        """What its metric is called whatever the attack: "accuracy"."""
        return self.metric.removeprefix("clean_").removeprefix("robust_")

    @property
    def earlier(self) -> bool:
        """Whether it is of something that has been replaced since under its name, or by older code."""
        return self.earlier_weights or self.earlier_data or self.earlier_mlm or self.earlier_code


COLUMNS = tuple(
    found.name for found in fields(Row) if found.name not in ("threat", "setting", "epochs")
)  # of CSV and JSON
# what no report has ever shown of a threat model, or shows under another name
UNLISTED = ("seed", "version", "mlm_name", "random_start", "max_candidates", "min_score")
