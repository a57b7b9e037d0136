"""Names to models: what `--model`, `--mlm` and `--checkpoint` refer to."""

from __future__ import annotations

from store.schema import Run

from ..settings import Home
from .clip import Clip, load_clip
from .epochs import epochs_of, path_of
from .finite import require_finite_weights
from .library import ensure_clip, ensure_mlm
from .masked_lm import MaskedLM, load_masked_lm

OTHERS = "fetch other weights: mmcoa fetch NAME --from PATH"


def origin_of(model: Clip | MaskedLM) -> str:
    """Where a model is from, as the index holds it."""
    return model.origin.kind


def load_model(name: str, home: Home) -> Clip:
    """The CLIP model `name`, fetched (or trained, if it is embedded) when it is not in the store yet."""
    clip = load_clip(ensure_clip(name, home), name=name)
    require_finite_weights(clip.model, f"the model {name}", hint=OTHERS)
    return clip


def load_mlm(name: str, home: Home) -> MaskedLM:
    """The masked LM `name`, fetched (or trained, if it is embedded) when it is not in the store yet."""
    mlm = load_masked_lm(ensure_mlm(name, home), name=name)
    require_finite_weights(mlm.model, f"the masked LM {name}", hint=OTHERS)
    return mlm


def load_subject(run: Run, home: Home) -> Clip:
    """The model that a run gave, or that is tested as it comes. Raises UserError for weights that are not finite."""
    if run.kind == "zero-shot":
        return load_model(run.model, home)
    clip = load_clip(path_of(home.checkpoints / run.id, epochs_of(run)), name=run.model)
    require_finite_weights(clip.model, f"run {run.id}", hint="train it again, with a smaller --lr")
    return clip
