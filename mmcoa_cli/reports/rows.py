"""The rows of a report: one result each, with its interval and the paper's number where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, NamedTuple

from ..attacks.base import every_option
from .metrics import measure_of
from .threats import Threat


class Behind(NamedTuple):
    """By how much a result is behind the best one on the same samples, and the p-value of that; None where samples are
    not told apart. The best is behind by 0."""

    by: float
    p: float | None


@dataclass
class Row:
    """One result; what is known only beside others, as the paper's number, is written into it (`reading`, `comparing`).
    `value`, `ci95`, `paper` and `attack_success_rate` are fractions in [0, 1].

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
    paper: float | None
    paper_note: str  # what sets the paper's number apart from this result
    paper_full: float | None  # the paper's number after full training, where this run saw fewer images
    attack_success_rate: float | None
    norm: str | None
    eps: str | None
    alpha: str | None
    steps: int | None
    stop_when_fooled: bool | None
    pixel_size: int | None  # the side of the images that were attacked
    mlm: str | None
    mlm_origin: str | None  # as `origin`
    max_words_changed: int | None
    no_collisions: bool | None
    collisions: int | None  # of `prompts` adversarial prompts, those that name another class
    distinct_prompts: int | None  # of them, how many are different to the model
    prompts: int | None
    origin: str  # where the CLIP model is from: published, own or stand-in
    sha256: str  # of the file of an own model
    limit: int | None
    partial: bool  # some classes of the dataset have no image
    part: str  # which part of the test set the images are, as "400 of 1,880 test images"; empty for the whole
    data: str  # the beginning of the dataset's checksum
    precision: str
    train_seed: int
    train_compat: str
    training: str  # the settings of the training run that are not the paper's
    train_part: str  # which part of the training images the run was trained on; empty for the whole
    weights: str  # the digest of the weights that were tested; empty where it was not recorded
    earlier_weights: bool  # the run or model of this name has other weights by now
    earlier_data: bool  # the dataset of this name has other images or prompts by now
    earlier_mlm: bool  # the masked LM of this name is another by now
    mlm_weights: str  # the digest of the masked LM
    base: str  # the digest of the weights that the run was trained from
    recipe: str  # of the training: runs that share it differ in nothing but their seed
    earlier_base: bool  # the model of that name has other weights by now
    image_version: int | None  # of the code of the image attack
    text_version: int | None
    digests: int  # how models were hashed when it was measured
    earlier_code: bool  # the report has results by a newer version of the attack, or of mmcoa
    created_at: str  # in UTC
    seconds: float  # that the test took, without what it found in the store
    device: str
    version: str  # of mmcoa; empty where it was not recorded, as is `torch`
    torch: str
    # these are in no format as they are; `get` finds what is in them
    threat: Threat
    setting: Mapping[str, Any]  # what it was measured on, and how
    spec: Mapping[str, Any]  # of the run
    epochs: int  # of its run
    task: str
    examples: str  # the key of its example set
    # of the attack on this very metric, where its task has several, with the ends of its interval
    own_success: tuple[float, float, float] | None = None
    behind: Behind | None = None  # the best of its table, where a table compares

    def get(self, name: str) -> Any:
        """A field, an option of the attack, what the index says of the measurement, or what it says of the run and
        attacks have no option for; None where there is no such."""
        if name == "epoch":
            return self.epoch
        found = vars(self).get(name) if name not in HIDDEN else None
        if found is None:
            found = self.threat.options.get(name)
        if found is None:
            found = self.setting.get(name)
        if found is not None:
            return found
        found = self.spec.get(name)
        return None if found is None or name in every_option() else found

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
    def way(self) -> str:
        """Of a model between two, "clip-vit to mmcoa-digits-full-1a2b3c4d"; else empty."""
        way = self.spec.get("interpolated")
        only = " (image encoder)" if way and way["towers"] != "both" else ""
        return f"{way['a']['run']} to {way['b']['run']}{only}" if way else ""

    @property
    def measure(self) -> str:
        """What its metric is called whatever the attack."""
        return measure_of(self.metric)

    @property
    def earlier(self) -> bool:
        """Whether it is of something that has been replaced since under its name, or by older code."""
        return self.earlier_weights or self.earlier_data or self.earlier_mlm or self.earlier_code

    @property
    def shares_prompts(self) -> bool:
        """Whether some classes were given the same adversarial prompt."""
        return self.distinct_prompts is not None and self.distinct_prompts != self.prompts


def made(told: Mapping[str, Any]) -> Row:
    """The row of these fields, without a number of the paper unless that is among them. It takes a tenth of the time
    that `Row` does, which sets them one by one."""
    row = object.__new__(Row)
    vars(row).update(DEFAULTS)
    vars(row).update(told)
    return row


DEFAULTS: dict[str, Any] = {
    **{found.name: found.default for found in fields(Row) if found.default is not MISSING},
    **{"paper": None, "paper_note": "", "paper_full": None},
}
HIDDEN = {"threat", "setting", "spec", "epochs", "task", "examples", "own_success", "behind"}
COLUMNS = tuple(found.name for found in fields(Row) if found.name not in HIDDEN)  # of CSV and JSON
# what no report has ever shown of a threat model, or shows under another name
UNLISTED = ("seed", "version", "mlm_name", "random_start", "max_candidates", "min_score")


def _compared(row: Row) -> dict[str, float | None]:
    """How far a result is behind the best, where a table compares."""
    return {"behind_best": row.behind.by, "p": row.behind.p} if row.behind else {"behind_best": None, "p": None}


def as_dicts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as JSON has them: an interval is a list of two, and options that not every attack has come last."""
    kinds = {(row.threat, row.before_the_last): None for row in rows}
    told = {(threat, epoch): {**({"epoch": epoch} if epoch else {}), **threat.options} for threat, epoch in kinds}
    further = dict.fromkeys(name for options in told.values() for name in options)
    names = [name for name in further if name not in (*COLUMNS, *UNLISTED)]
    compares = any(row.behind for row in rows)
    beside = {kind: {name: options.get(name) for name in names} for kind, options in told.items()}
    return [
        {
            **{name: fields[name] for name in COLUMNS},
            "ci95": [*row.ci95],
            **beside[row.threat, row.before_the_last],
            **(_compared(row) if compares else {}),
        }
        for row, fields in ((row, vars(row)) for row in rows)
    ]
