"""Models between two: weights (1-w) A + w B (Wortsman et al., 2022, arXiv 2109.01903; the paper's Figure 8).

Each is a run of its own, whose row says which two it lies between and where. The ends are A and B bit for bit. What is
no number of the model is not interpolated: whole-numbered buffers stay as A has them. `logit_scale` is stored as a
logarithm, so the temperature moves in log space. Importing this module does not import torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, get_args

from store.errors import UserError
from store.files import lock
from store.index import Index
from store.keys import key_of
from store.schema import Run

from ..settings import Home, require_space
from ..terminal.checks import one_of
from ..terminal.console import progress
from ..terminal.literals import Towers
from .epochs import FIRST, save_weights
from .runs import INTERPOLATED, now, require_known, require_whole, run_of, weights_of

if TYPE_CHECKING:
    from torch import Tensor

    from .clip import Clip

MOST = 1001  # models on a way
IMAGE_TOWER = "visual."


@dataclass(frozen=True)
class End:
    """One of the two: its run, and the digest of its weights."""

    run: str
    weights: str


@dataclass(frozen=True)
class Way:
    """From A to B in `steps` models; of the image encoder alone, or of both `towers`."""

    a: End
    b: End
    steps: int = 11
    towers: str = "both"

    def __post_init__(self) -> None:
        one_of("--towers", self.towers, get_args(Towers))
        if not 2 <= self.steps <= MOST:
            raise UserError(f"--steps {self.steps} is out of range", hint="--steps 11: w = 0, 0.1 ... 1")

    @property
    def weights(self) -> list[float]:
        """Every w, from 0 to 1."""
        return [number / (self.steps - 1) for number in range(self.steps)]

    def run_id(self, w: float) -> str:
        """The id of the model at w, whatever the number of steps that led there."""
        return f"interpolated-{key_of([asdict(self.a), asdict(self.b), self.towers])[:8]}-w{w:.4g}"


def steps_over(weights: Iterable[float]) -> int:
    """How many models a way has at least that has all of these w: 11 for 0, 0.1 ... 1."""
    return max(1, math.lcm(*(Fraction(str(w)).denominator for w in weights))) + 1


def interpolate(a: str, b: str, home: Home, *, steps: int = 11, towers: str = "both") -> list[Run]:
    """The runs of the models from `a` to `b` (runs, or models as they come), made where they are not there.

    Raises UserError for names that are not there, for learned prompts, and for two architectures.
    """
    index = Index(home.database_url)
    for name in (a, b):
        require_known(name, home)  # before one of them is fetched
    ends = [run_of(name, home, index) for name in (a, b)]
    start, goal = (End(run.id, weights_of(run, home)) for run in ends)
    way = Way(start, goal, steps=steps, towers=towers)
    clips = [_whole(run, home) for run in ends]
    require_alike(*clips)
    todo = [w for w in way.weights if not _there(way.run_id(w), home, index)]
    size = sum(tensor.nbytes for tensor in clips[0].tensors().values())
    home.checkpoints.mkdir(parents=True, exist_ok=True)
    require_space(len(todo) * size, folder=home.checkpoints, name=f"the models between {a} and {b}")
    target, first = clips[1], clips[0].tensors()
    last = {name: tensor.clone() for name, tensor in target.tensors().items()}  # `target` is written over
    with progress(f"{ends[0].id} to {ends[1].id}", total=len(todo), unit="models") as task:
        for w in todo:
            target.restore(dict(blend(first, last, w, towers=towers)))
            _save(way, w, target, like=ends[1], home=home, index=index)
            task.advance(1)
    return [found for w in way.weights if (found := index.run(way.run_id(w)))]


def blend(a: Mapping[str, Tensor], b: Mapping[str, Tensor], w: float, *, towers: str) -> Iterator[tuple[str, Tensor]]:
    """(1-w) a + w b, tensor by tensor, in double precision; a itself at w = 0, b itself at w = 1.

    Where only the image encoder takes part, everything else is a's at every w.
    """
    for name, start in a.items():
        takes_part = towers == "both" or name.startswith(IMAGE_TOWER)
        if not takes_part or w == 0:
            yield name, start
        elif w == 1:
            yield name, b[name]
        elif not start.is_floating_point():
            yield name, start
        else:
            yield name, ((1 - w) * start.double() + w * b[name].double()).to(start.dtype)


def require_alike(a: Clip, b: Clip) -> None:
    """Raises UserError, which names the first difference, for models whose weights have no common meaning."""
    first, last = ({name: tuple(tensor.shape) for name, tensor in clip.model.state_dict().items()} for clip in (a, b))
    differing = next((n for n in {**first, **last} if first.get(n) != last.get(n)), None)
    if differing:
        shapes = " and ".join(str(found.get(differing, "nothing")) for found in (first, last))
        raise UserError(
            f"{a.name} and {b.name} are of two architectures: {differing} is {shapes}",
            hint="interpolate a model and one that was trained from it",
        )
    differing = next((part for part in {**a.config, **b.config} if a.config.get(part) != b.config.get(part)), None)
    if differing or a.tokenizer_files != b.tokenizer_files:
        raise UserError(
            f"{a.name} and {b.name} do not agree: their {differing or 'tokenizers'} differ",
            hint="interpolate a model and one that was trained from it",
        )


def _whole(run: Run, home: Home) -> Clip:
    from .clip import Clip
    from .load import load_subject

    victim = load_subject(run, home)
    if not isinstance(victim, Clip):
        raise UserError(
            f"{run.id} is a learned prompt or a defence around {run.model}, whose own weights it does not change",
            hint=f"nothing lies between: interpolate {run.model} and a fine-tuned model",
        )
    return victim


def _there(run_id: str, home: Home, index: Index) -> bool:
    run = index.run(run_id)
    if run is None:
        return False
    try:
        require_whole(run, home)
    except UserError:
        return False
    return True


def _save(way: Way, w: float, clip: Clip, *, like: Run, home: Home, index: Index) -> None:
    run_id = way.run_id(w)
    place = {"w": w, "towers": way.towers, "a": asdict(way.a), "b": asdict(way.b)}
    told = f"w {w:.4g} from {way.a.run}" + (" (image encoder)" if way.towers != "both" else "")
    about: dict[str, Any] = {**_kept(like), "epochs": FIRST, "interpolated": place, "told": told, "setting": {"w": w}}
    with lock(home.runs / run_id, what=f"run {run_id}"):
        save_weights(home.checkpoints / run_id, clip, epoch=FIRST, spec={"run": run_id, **about})
        made = replace(like, id=run_id, kind=INTERPOLATED, weights=clip.digest(), spec=json.dumps(about))
        index.save_run(replace(made, status="complete", created_at=now(), finished_at=now()))


def _kept(run: Run) -> dict[str, Any]:
    """What the index says of B that is so of a model on the way too."""
    spec = json.loads(run.spec)
    return {name: spec[name] for name in ("method", "model", "base", "model_sha256", "part") if name in spec}
