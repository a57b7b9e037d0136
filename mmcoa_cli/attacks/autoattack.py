"""`autoattack`: several attacks one after the other, each on the images that still stand (Croce and Hein, 2020).

The name means three things in the literature, so the members are spelled out, in keys, records and reports. By default
they are APGD-CE and APGD-T; `-o version=standard` adds FAB-T and Square. An image that none of them fools stays clean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from store.errors import UserError

from ..terminal.checks import one_of, positive, within
from .base import Attack, Batch, Classifier
from .settings import BallSettings

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Standing:
    """Images under attack, (b, 3, S, S), and the classes that are not their own, likely ones first, (b, K - 1)."""

    classify: Classifier
    images: Tensor
    labels: Tensor
    others: Tensor
    indices: Sequence[int]
    settings: AutoAttackSettings
    seed: int
    on_step: Callable[[], None]

    def of(self, rows: Tensor) -> Standing:
        """Those of these rows, (n,)."""
        indices = [self.indices[row] for row in rows.tolist()]
        images, labels, others = self.images[rows], self.labels[rows], self.others[rows]
        return replace(self, images=images, labels=labels, others=others, indices=indices)

    def by_target(self, attack: Callable[[Standing, int], tuple[Tensor, Tensor]]) -> Tensor:
        """Images like these, moved where `attack` has fooled the model: it aims at one of the `others` after another,
        and gives images, and which of them are misclassified; those are left."""
        found, rows = self.images.clone(), self.labels.new_ones(len(self.labels)).nonzero()[:, 0]
        for number in range(self.settings.targets):
            adv_images, fooled = attack(self.of(rows), number)
            found[rows[fooled]] = adv_images[fooled]
            rows = rows[~fooled]
            if len(rows) == 0:
                break
        return found


@dataclass(frozen=True)
class Member:
    """An attack of the ensemble: the fewest classes that it is defined for, whether it aims at one after another."""

    name: str
    title: str
    classes: int = 2
    targeted: bool = False
    queries: bool = False  # it asks for logits alone, and has its own number of steps

    def effort(self, settings: AutoAttackSettings) -> int:
        """The most steps that it takes on an image."""
        return settings.queries if self.queries else settings.steps * (settings.targets if self.targeted else 1)

    def __call__(self, standing: Standing) -> Tensor:
        """Images like these, changed where it has fooled the model."""
        from . import apgd, fab, square

        run = {
            "apgd-ce": apgd.cross_entropy, "apgd-dlr": apgd.difference_of_logits_ratio, "apgd-t": apgd.targeted,
            "fab-t": fab.targeted, "square": square.square,
        }[self.name]  # fmt: skip
        return run(standing)


MEMBERS = {  # in the order in which they run
    member.name: member
    for member in (
        Member("apgd-ce", "APGD-CE"),
        Member("apgd-dlr", "APGD-DLR", classes=3),
        Member("apgd-t", "APGD-T", classes=4, targeted=True),
        Member("fab-t", "FAB-T", targeted=True),
        Member("square", "Square", queries=True),
    )
}
VERSIONS = {"apgd": "apgd-ce,apgd-t", "standard": "apgd-ce,apgd-t,fab-t,square"}


@dataclass(frozen=True)
class AutoAttackSettings(BallSettings):
    """`members` are names with commas between them; the name of a set becomes its members."""

    steps: int = 100
    targets: int = 9
    queries: int = 5000
    members: str = field(default=VERSIONS["apgd"], metadata={"also": "version"})

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("steps", "targets", "queries"):
            positive(f"-o {option}", getattr(self, option))
        within("--steps", self.steps)
        named = self.members.replace(" ", "").split(",")
        for name in named:
            one_of("-o members", name, (*MEMBERS, *VERSIONS))
        asked = ",".join(VERSIONS.get(name, name) for name in named).split(",")
        object.__setattr__(self, "members", ",".join(name for name in MEMBERS if name in asked))

    @property
    def run(self) -> list[Member]:
        return [MEMBERS[name] for name in self.members.split(",")]

    @property
    def effort(self) -> int:
        """The most steps that an image takes."""
        return sum(member.effort(self) for member in self.run)

    @property
    def caution(self) -> str:
        """Why the attack is weaker than it looks: nothing that is known of its settings."""
        return ""

    def for_texts(self, number: int) -> AutoAttackSettings:
        """The settings as they are run on this many classes: DLR-T sorts four logits, DLR three, and no image has more
        targets than other classes. Raises UserError where nothing is left."""
        names = [member.name for member in self.run if member.classes <= number]
        if "apgd-t" in self.members and number == MEMBERS["apgd-dlr"].classes:
            names.append("apgd-dlr")
        if not names:
            raise UserError(
                f"{self.members} is not defined for {number} classes", hint="-o members=apgd-ce is, for any number"
            )
        return replace(self, members=",".join(names), targets=max(1, min(self.targets, number - 1)))

    def in_words(self) -> str:
        """ "L-inf, eps 1/255, APGD-CE, APGD-T (100 steps, 9 targets), Square (5,000 queries)"."""
        stepwise = [member for member in self.run if not member.queries]
        aims = f", {self.targets} target{'s' if self.targets > 1 else ''}"
        steps = f" ({self.steps} steps{aims if any(member.targeted for member in stepwise) else ''})"
        own = ", ".join(member.title for member in stepwise) + (steps if stepwise else "")
        asked = [f"{member.title} ({self.queries:,} queries)" for member in self.run if member.queries]
        return ", ".join([super().in_words(), *([own] if own else []), *asked])


def adv_images(batch: Batch) -> Tensor:
    """Each image as the first member leaves it that fools the model; clean where none does: (B, 3, S, S)."""
    import torch

    from ..models.finite import require_finite
    from .pgd import holding

    settings, taken = batch.settings, 0

    def on_step() -> None:
        nonlocal taken
        taken += 1
        batch.on_step()

    with torch.no_grad():
        logits = require_finite(batch.logits(batch.images), f"the logits of {batch.victim.name}")
    own = logits.scatter(1, batch.labels[:, None], -torch.inf)
    others = own.argsort(dim=1, descending=True, stable=True)[:, :-1]
    standing = Standing(batch.logits, batch.images, batch.labels, others, batch.indices, settings, batch.seed, on_step)
    found, holds = batch.images.clone(), holding(batch.logits, batch.images, batch.labels)
    for member in settings.run:
        rows = holds.nonzero()[:, 0]
        if len(rows) == 0:
            break
        tried = found.clone()
        tried[rows] = member(standing.of(rows))
        # in a batch of another size logits round differently: what counts is what the whole block says
        fools = holds & ~holding(batch.logits, tried, batch.labels)
        found[fools], holds = tried[fools], holds & ~fools
    for _ in range(settings.effort - taken):  # the steps that were not needed
        batch.on_step()
    return found


AUTOATTACK = Attack(
    "autoattack",
    title="APGD-CE, then APGD-T on what stands; -o version=standard adds FAB-T and Square",
    source="Croce and Hein, 2020, arXiv 2003.01690",
    settings=AutoAttackSettings,
    version=2,
    needs=("clean",),
    images=adv_images,
    seeded=True,
    stricter_than="image",
    on="classes",
)
