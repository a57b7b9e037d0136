"""Which tensors of a file are a model's: under which entry, behind which prefix, and of which encoder."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from store.errors import UserError

from .files import Weights
from .tensors import Weight
from .transformers_names import as_open_clip, is_transformers

Shapes = Mapping[str, tuple[int, ...]]
WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
ENTRIES = ("", "state_dict", "model_state_dict", "model", "vision_encoder_state_dict", "module")  # the usual ones first
IDLE = re.compile(r"(?:.*\.)?(?:position_ids|attn_mask)|input_resolution|context_length|vocab_size")  # no weights
SCALES = ("logit_scale", "logit_bias")
OLD_TEXT = ("text_projection", "positional_embedding", "token_embedding.", "transformer.", "ln_final.")
COUNTER = "num_batches_tracked"  # of BatchNorm, which older files lack and nothing here reads
MAX_PREFIXES = 60


@dataclass(frozen=True)
class Fit:
    """How tensors of a file meet the shapes of a model. `taken` are those that fit, by the model's names."""

    entry: str
    prefix: str
    taken: dict[str, Weight]
    misshapen: dict[str, Weight]
    unexpected: tuple[str, ...]
    beside: tuple[str, ...] = ()  # tensors of the entry that do not lie behind the prefix
    others: tuple[str, ...] = field(default=())  # further entries with tensors

    @property
    def found(self) -> int:
        return len(self.taken) + len(self.misshapen)

    @property
    def rank(self) -> tuple[int, int, int, int, int]:
        usual = ENTRIES.index(self.entry) if self.entry in ENTRIES else len(ENTRIES)
        return self.found, len(self.taken), -len(self.unexpected), -usual, -len(self.prefix)


def fit(weights: Weights, shapes: Shapes) -> Fit:
    """The best fit of the file's tensors to the model of these shapes; nothing may be taken in it.

    Raises UserError where two models in the file fit alike.
    """
    fits = [one for entry, tensors in weights.entries.items() for one in _fits(entry, tensors, shapes)]
    best = max(fits, key=lambda one: one.rank)
    if rival := next((one for one in fits if _rivals(one, best)), None):
        both = " and ".join((one.entry + " " + one.prefix).strip() for one in (best, rival))
        raise UserError(f"{weights.path.name} holds two models that fit: {both}", hint="save one of them alone")
    others = tuple(entry for entry in weights.entries if entry != best.entry)
    return Fit(best.entry, best.prefix, best.taken, best.misshapen, best.unexpected, best.beside, others)


def _rivals(one: Fit, best: Fit) -> bool:
    """Whether a fit is as good as the best, and of other tensors, of which none has one of the usual names."""
    if one.rank[:3] != best.rank[:3] or best.found == 0:
        return False
    nested = one.prefix.startswith(best.prefix) or best.prefix.startswith(one.prefix)
    return best.entry not in ENTRIES if one.entry != best.entry else not nested


def missing(one: Fit, shapes: Shapes) -> list[str]:
    """The model's tensors that the file does not have."""
    return [n for n in shapes if n not in one.taken and n not in one.misshapen and not n.endswith(COUNTER)]


def misfit(one: Fit, shapes: Shapes) -> str:
    """What keeps the file's tensors from being all of the model's, in words; empty where nothing does."""
    lacking = missing(one, shapes)
    counts = f"{len(lacking)} of {len(shapes)} weights are missing"
    told = [f"{counts} ({_first(lacking)})"] if lacking else []
    if one.misshapen:
        name, weight = next(iter(one.misshapen.items()))
        shape = f"{name} is {_times(weight.shape)} instead of {_times(shapes[name])}"
        told.append(f"{len(one.misshapen)} are of another shape ({shape})")
    if one.unexpected:
        told.append(f"{len(one.unexpected)} are unexpected ({_first(one.unexpected)})")
    return ", ".join(told)


def _first(names: Sequence[str]) -> str:
    return ", ".join(name[:80] for name in names[:5]) + (", ..." if len(names) > 5 else "")


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"


def encoders(shapes: Shapes) -> dict[str, set[str]]:
    """The names of the tensors of either encoder."""
    image = {name for name in shapes if name.startswith("visual.")}
    return {"image": image, "text": set(shapes) - image - set(SCALES)}


def _fits(entry: str, tensors: Mapping[str, Weight], shapes: Shapes) -> Iterator[Fit]:
    named = {WRAPPERS.sub("", name): weight for name, weight in tensors.items()}
    for prefix in _prefixes(named):
        behind = {name.removeprefix(prefix): weight for name, weight in named.items() if name.startswith(prefix)}
        beside = tuple(name for name in named if not name.startswith(prefix) and not IDLE.fullmatch(name))
        behind = as_open_clip(behind) if is_transformers(behind) else behind
        for placed in _places(behind, shapes):
            yield _compare(entry, prefix, placed, beside, shapes=shapes)


def _prefixes(names: Mapping[str, Weight]) -> list[str]:
    """What names begin with: nothing, "module.", "module.model.", "model.visual." and the like; the most frequent."""
    counted: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        for count in range(1, min(len(parts), 5)):
            if parts[count - 1].isdigit():
                break
            counted[".".join(parts[:count]) + "."] += 1
    return ["", *(prefix for prefix, _ in counted.most_common(MAX_PREFIXES))]


def _places(tensors: Mapping[str, Weight], shapes: Shapes) -> Iterator[dict[str, Weight]]:
    """The tensors as those of a whole CLIP, as those of an image encoder alone, and of a text encoder alone."""
    tensors = {name: weight for name, weight in tensors.items() if not IDLE.fullmatch(name)}
    yield dict(tensors)
    yield {f"visual.{name}": weight for name, weight in tensors.items()}
    if any(name.startswith("text.") for name in shapes):  # open_clip's newer models, which have the text encoder apart
        yield {f"text.{name}": weight for name, weight in tensors.items()}
        yield {f"text.{n}" if n.startswith(OLD_TEXT) else n: weight for n, weight in tensors.items()}


def _compare(entry: str, prefix: str, tensors: dict[str, Weight], beside: tuple[str, ...], *, shapes: Shapes) -> Fit:
    found = {name: weight for name, weight in tensors.items() if name in shapes}
    taken = {name: weight for name, weight in found.items() if _same(name, weight.shape, shapes[name])}
    misshapen = {name: weight for name, weight in found.items() if name not in taken}
    unexpected = tuple(name for name in tensors if name not in shapes)
    return Fit(entry, prefix, taken, misshapen, unexpected, beside)


def _same(name: str, given: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Equal shapes; a scale may be a number or a list of one."""
    return given == expected or (name in SCALES and math.prod(given) == math.prod(expected) == 1)
