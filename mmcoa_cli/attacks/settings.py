"""The settings of the attacks: checked, frozen, and free of anything heavy, so that a command can read them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, get_args

from store.errors import UserError

from ..terminal.checks import one_of, positive, within
from ..terminal.literals import Norm
from .compat import OF_TEXT, of_text, parts
from .radii import LEVELS, canonical, fraction, in_levels, radius, share_of, written

NORMS: tuple[str, ...] = get_args(Norm)


@dataclass(frozen=True)
class BallSettings:
    """The ball around an image. `eps` is a text in its canonical form ("1/255"), in units of a pixel in [0, 1]."""

    norm: str = "linf"
    eps: str = "1/255"

    def __post_init__(self) -> None:
        one_of("--norm", self.norm, NORMS)
        object.__setattr__(self, "eps", self._inside("--eps", self.eps))

    def _inside(self, option: str, text: str) -> str:
        """The canonical form of a radius. Raises UserError for what no pixel can move by."""
        if self.norm == "linf" and radius(text, option) >= 1:
            raise UserError(f"{option} {text} is the whole range of a pixel", hint=_smaller(option, text))
        return canonical(text, option)

    def in_words(self) -> str:
        return f"L-inf, eps {in_levels(self.eps)}" if self.norm == "linf" else f"L2, eps {self.eps}"


@dataclass(frozen=True)
class AscentSettings(BallSettings):
    """Gradient ascent in the ball. `alpha` is a text as `eps` is; None becomes the norm's own."""

    published: ClassVar[Fraction] = Fraction(5, 4)  # alpha in eps / steps: Co-Attack's on captions, and AdvPT's
    alpha: str | None = None
    steps: int = 100
    random_start: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 0:
            raise UserError(f"an attack of {self.steps} steps cannot be run", hint="--steps 100, as in the paper")
        within("--steps", self.steps)
        usual = default_alpha(self.norm, self.eps, self.steps)
        object.__setattr__(self, "alpha", usual if self.alpha is None else self._inside("--alpha", self.alpha))

    @classmethod
    def published_step(cls, eps: str, steps: int) -> str:
        """alpha as it was published. Raises UserError for an `eps` that is no radius."""
        return share_of(eps, steps, times=cls.published)

    @property
    def step_size(self) -> float:
        """alpha as a number."""
        return radius(str(self.alpha), "--alpha")

    @property
    def stays_on_grid(self) -> bool:
        """Whether perturbed 8-bit images can be 8-bit images again: L-inf with eps and alpha in whole 1/255."""
        whole = all((fraction(text) * LEVELS).denominator == 1 for text in (self.eps, str(self.alpha)))
        return self.norm == "linf" and whole

    @property
    def caution(self) -> str:
        """Why a model that withstands this attack need not withstand its eps; empty for an attack that fits."""
        eps, alpha = fraction(self.eps), fraction(str(self.alpha))
        if self.steps * alpha < eps:
            return f"steps x alpha = {self.steps} x {self.alpha} does not reach eps {self.eps}: a weak attack"
        if alpha > 2 * eps:
            return f"alpha {self.alpha} is more than twice eps {self.eps}: every step crosses the whole ball"
        return ""

    def in_words(self) -> str:
        start = "" if self.random_start else ", from the image itself"
        alpha = str(self.alpha) if self.norm == "linf" else f"{self.step_size:.4g}"  # a length is no level of a pixel
        return f"{super().in_words()}, alpha {alpha}, {self.steps} steps{start}"


@dataclass(frozen=True)
class PgdSettings(AscentSettings):
    """The ascent on the cross-entropy, of all steps or until an image is fooled."""

    stop_when_fooled: bool = False

    def in_words(self) -> str:
        return super().in_words() + (", each image left once it is fooled" if self.stop_when_fooled else "")


def default_alpha(norm: str, eps: str, steps: int) -> str:
    """The step size where none is given: 1/255 in L-inf; 2.5 eps / steps in L2, for which 1/255 is next to nothing."""
    return "1/255" if norm == "linf" else share_of(eps, steps, times=Fraction(5, 2))


def _smaller(option: str, text: str) -> str:
    """For a radius of 1 or more in L-inf: 8 is meant as 8/255."""
    level = "/" not in text and fraction(text) < LEVELS
    return f"{option} {written(fraction(text) / LEVELS)}" if level else f"{option} 8/{LEVELS}"


@dataclass(frozen=True)
class BertAttackSettings:
    """BERT-Attack's specification. `compat` says which parts of it are as in the released code (`compat.OF_TEXT`)."""

    max_candidates: int = 10
    min_score: float = 0.3
    max_words_changed: int = 1
    no_collisions: bool = False
    compat: str = "none"

    def __post_init__(self) -> None:
        object.__setattr__(self, "compat", of_text(self.compat))
        for option in ("max_candidates", "max_words_changed"):  # with none of them prompts would stay as they are
            positive(f"-o {option}", getattr(self, option))

    def does(self, part: str) -> bool:
        """Whether this part is done as the released code does it."""
        return part in parts(self.compat)

    @property
    def caution(self) -> str:
        """Why the attack is weaker than it looks: nothing that is known of its settings."""
        return ""

    def in_words(self) -> str:
        done = [name for name in OF_TEXT if self.does(name)]
        kind = "the release's " + ("own" if len(done) == len(OF_TEXT) else " and ".join(done)) if done else "aligned"
        names = ", no other class's name" if self.no_collisions else ""
        return f"{self.max_words_changed} word{'s' if self.max_words_changed > 1 else ''}, {kind}{names}"
