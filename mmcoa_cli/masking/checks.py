"""The checks: each looks at one thing that cannot be so where an attack sees the model, and says what it found.

Where attacks are compared, it is on the same images and by an exact test (`Pair`). Where an honest model may
differ a little, a number is suspected only if the other one lies outside of its 95% interval as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from store.errors import UserError

from ..attacks.radii import written

if TYPE_CHECKING:
    from .evidence import Evidence, Outcome

TESTS = 8  # of one examination
ALPHA = 0.05 / TESTS  # so that by chance at most one honest model in twenty is suspected by any (Bonferroni)

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """Of images that two attacks were run on: how many only the one turned, and how many only the other."""

    one: int
    other: int

    @classmethod
    def of(cls, one: Bools, other: Bools) -> Pair:
        return cls(int((one & ~other).sum()), int((other & ~one).sum()))

    @property
    def one_is_stronger(self) -> bool:
        """Whether the first turns more than chance explains: McNemar's test, exact and one-sided."""
        return self._at_most(self.other) < ALPHA

    @property
    def differ(self) -> bool:
        """Whether either does: the same test, two-sided."""
        return 2 * self._at_most(min(self.one, self.other)) < ALPHA

    def _at_most(self, count: int) -> float:
        """How probable it is that a coin gives so few of these images to one of the two."""
        from scipy.special import bdtr  # scipy.stats, which has the test as such, takes a second to load

        return float(bdtr(count, self.one + self.other, 0.5))


BATCH = 64  # of images that are classified together
LN_20 = math.log(20)  # odds of 20 to 1: what 95% of sureness are
STRICTER = "report --attack autoattack -o version=standard, whose last member needs no gradient"
MEMBERS = "apgd-ce,apgd-dlr"  # APGD on the loss of PGD, and on one that no scale of the logits changes
LONG = {"steps": 50, "stop_when_fooled": True}  # of the attack without bounds; in L-inf its steps are 8/255


@dataclass(frozen=True)
class Finding:
    """What was found, in words with their n, and its numbers; `advice`, where it is suspicious, says what it means and
    what to do."""

    found: str
    advice: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One of them: it takes `steps` of an image at most, backward and forward."""

    name: str
    look: Callable[[Evidence], Finding]
    steps: int


def gradient(evidence: Evidence) -> Finding:
    """Is there a gradient to ascend, where the attack begins? Of an honest model none is exactly zero."""
    sizes, n = evidence.gradients, evidence.n
    zero, wrong = int((sizes == 0).sum()), int((~sizes.isfinite()).sum())
    found = f"exactly zero for {zero} of {n} images, not finite for {wrong}"
    numbers = {"n": n, "zero": zero, "not_finite": wrong}
    if wrong:
        return Finding(
            found, "the gradients overflow: no attack can follow them. Test it with --precision fp32", numbers
        )
    if not zero:
        return Finding(found, numbers=numbers)
    advice = f"its gradients vanish for {zero / n:.0%} of the images: PGD cannot see these. {_upper(STRICTER)}"
    return Finding(found, advice, numbers)


def probabilities(evidence: Evidence) -> Finding:
    """Do its probabilities tell more than a guess, where its answers do? The evidence of n images against a guess is
    the sum of KL(p || uniform): below ln 20 they all together are not worth odds of 20 to 1."""
    p, clean = evidence.probabilities(), evidence.clean.accuracy
    told, classes = float((p * (p.clamp_min(1e-300).log() + math.log(p.shape[1]))).sum()), p.shape[1]
    sure = f"with a mean probability of {p.amax(1).mean():.1%} for its answer"
    squeezed = told < LN_20 and clean.low is not None and clean.low > 1 / classes
    advice = (
        "its logits are squeezed: all classes are as good as equally likely, so a loss hardly tells right from wrong, "
        "and an attack that compares losses, or rounds them, goes blind. Look at the scale of its logits; trust apgd "
        "below, whose second loss knows none"
    )
    found = f"{_percent(clean.value)} of {clean.n} images right, {sure}"
    return Finding(found, advice if squeezed else "", {"n": clean.n, "nats": told, "classes": classes})


def steps(evidence: Evidence) -> Finding:
    """Do ten times the steps do no worse, and little better?"""
    few, many = evidence.short_pgd, evidence.pgd
    pair, found, numbers = _compared(few, many, f"PGD of 10 steps leaves {{}}, of {evidence.settings.steps} {{}}")
    if pair.one_is_stronger:
        advice = f"more steps do less: the steps do not follow what they should. Try a smaller --alpha, and {STRICTER}"
        return Finding(found, advice, numbers)
    if _far_below(many, few):
        return Finding(found, f"10 steps are too few: report those of {evidence.settings.steps} or more", numbers)
    return Finding(found, numbers=numbers)


def apgd(evidence: Evidence) -> Finding:
    """Does an attack without a step size, half of it on a loss without a scale, find little more?"""
    other = evidence.under("autoattack", members=MEMBERS, steps=evidence.settings.steps)
    _, found, numbers = _compared(other, evidence.pgd, "APGD leaves {}, PGD {}")
    if not _far_below(other, evidence.pgd):
        return Finding(found, numbers=numbers)
    advice = f"PGD overestimates it: its step size does not fit, or its loss is blind. {_upper(STRICTER)}"
    return Finding(found, advice, numbers)


def transfer(evidence: Evidence) -> Finding:
    """Do examples that were made on the model it came from, without looking at it, break it no more often?"""
    base = evidence.of_base()
    if base is None:
        raise UserError(f"it is {evidence.subject.run.model} as it comes: there is no model that it came from")
    turned = evidence.turned(base.images("image", **base.short), batch=BATCH)
    pair = Pair.of(turned, evidence.pgd.turned)
    found = (
        f"examples made on {base.subject.run.model} turn {int(turned.sum())} of {evidence.n} images, its own PGD "
        f"{int(evidence.pgd.turned.sum())}"
    )
    advice = f"an attack that knows it less breaks it more: its gradients mislead. {_upper(STRICTER)}"
    numbers = {"n": evidence.n, "transferred": int(turned.sum()), "own": int(evidence.pgd.turned.sum())}
    return Finding(found, advice if pair.one_is_stronger else "", numbers)


def noise(evidence: Evidence) -> Finding:
    """Does an attack turn more than its own random start does?"""
    start = evidence.under("image", steps=0)
    pair, found, numbers = _compared(start, evidence.pgd, "noise of the same size leaves {}, PGD {}")
    if pair.one_is_stronger:
        return Finding(found, f"noise does more than the attack: its gradients mislead. {_upper(STRICTER)}", numbers)
    if Pair.of(evidence.pgd.turned, start.turned).one_is_stronger or not _withstands_all(evidence):
        return Finding(found, numbers=numbers)
    return Finding(found, f"the attack does no more than noise, at any size: it is blind. {_upper(STRICTER)}", numbers)


def unbounded(evidence: Evidence) -> Finding:
    """Does an attack that may make any image of any image turn all? An answer that no image changes is no answer."""
    other, right = _without_bounds(evidence), evidence.clean.accuracy.value * evidence.n
    standing = round(other.accuracy.value * evidence.n)
    found = f"with no bounds, PGD leaves {standing} of the {right:.0f} images that were right"
    if not _withstands_all(evidence):
        return Finding(found, numbers={"n": evidence.n, "standing": standing})
    advice = f"every image can be reached, so all should fall: the attack cannot find its way. {_upper(STRICTER)}"
    return Finding(found, advice, {"n": evidence.n, "standing": standing})


def batches(evidence: Evidence) -> Finding:
    """Is the answer to an image the same, whatever other images are shown with it, and when?"""
    images = evidence.images("image")
    together, again, alone = (evidence.turned(images, batch=size) for size in (BATCH, BATCH, 1))
    random, mixed = int((together != again).sum()), int((together != alone).sum())
    of = f"{mixed} of {evidence.n} outcomes change"
    found = f"{of} in batches of 1 instead of {min(BATCH, evidence.n)}, {random} when asked again"
    numbers = {"n": evidence.n, "batch": mixed, "again": random}
    if random:
        advice = "its answers are drawn: an attack has to average over many draws (EOT), and these do not"
        return Finding(found, advice, numbers)
    if not mixed:
        return Finding(found, numbers=numbers)
    advice = (
        "its answer depends on the other images of a batch (BatchNorm in training mode?): attack with --batch-size 1"
    )
    return Finding(found, advice, numbers)


def precision(evidence: Evidence) -> Finding:
    """Is the robust accuracy the same in half precision?"""
    single, half = evidence.short_pgd, evidence.under("image", **evidence.short, precision="bf16")
    pair, found, numbers = _compared(single, half, "PGD of 10 steps leaves {} in fp32, {} in bf16")
    apart = _far_below(single, half) or _far_below(half, single)
    advice = "the number depends on the rounding: report fp32, and see whether the gradients are larger than it"
    return Finding(found, advice if apart and pair.differ else "", numbers)


CHECKS = (
    Check("gradient", gradient, 1),
    Check("probabilities", probabilities, 1),
    Check("steps", steps, 110),
    Check("apgd", apgd, 200),
    Check("transfer", transfer, 11),
    Check("noise", noise, 1),
    Check("unbounded", unbounded, 50),
    Check("batches", batches, 3),
    Check("precision", precision, 10),
)


def _compared(one: Outcome, other: Outcome, text: str) -> tuple[Pair, str, dict[str, float]]:
    """Two outcomes as a pair, in words, and as numbers."""
    pair, n = Pair.of(one.turned, other.turned), one.accuracy.n
    found = text.format(_percent(one.accuracy.value), _percent(other.accuracy.value)) + f" of {n} images right"
    numbers = {"n": n, "one": one.accuracy.value, "other": other.accuracy.value}
    return pair, found, {**numbers, "only_one_turned": pair.one, "only_other_turned": pair.other}


def _far_below(one: Outcome, other: Outcome) -> bool:
    """Whether the first attack is stronger by so much that the interval of the other's number is wrong."""
    low = other.accuracy.low
    return Pair.of(one.turned, other.turned).one_is_stronger and low is not None and one.accuracy.value < low


def _without_bounds(evidence: Evidence) -> Outcome:
    """PGD in a ball that reaches from any image to any other, from the image itself, until it is turned."""
    captions, side = evidence.trial.task.captions, evidence.trial.dataset.info.pixel_size
    linf = evidence.settings.norm == "linf"
    far = {"eps": "254/255", "alpha": "8/255"} if linf else {"eps": str(2 * side), "alpha": written(Fraction(side, 10))}
    # the loss of captions is 0 at the image itself, and it is not known there when an image is turned
    way = {"steps": LONG["steps"]} if captions else {**LONG, "random_start": False}
    return evidence.under("image", **far, **way)


def _withstands_all(evidence: Evidence) -> bool:
    """Whether more images than chance explains stand what turns all of them: showing another image instead."""
    found = _without_bounds(evidence)
    return 0.5 ** round(found.accuracy.value * found.accuracy.n) < ALPHA


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
