"""Images to their captions, and captions to their images: recall among the first 1, 5 and 10.

Captions are read as the published evaluations read them (`pre_caption`). Where an attack takes one text of an image it
is the last: attacked pair by pair, as published, that is the one whose adversarial image is kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from store.errors import UserError

from .base import Drawn, Metric, Task, share, stored

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from store.dataset_info import DatasetInfo

    from ..attacks.base import Attack, Goal
    from ..models.victim import Victim
    from .base import Column, Columns, Logits

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]


def chances(above: npt.NDArray[Any], ties: npt.NDArray[Any], own: npt.NDArray[Any], k: int) -> npt.NDArray[np.float64]:
    """What a query counts whose best own item ties with others: the chance that one is among the first k, were the tied
    ones put in any order: 1 - C(ties - own, r) / C(ties, r) for the r places that are left to them."""
    import numpy as np

    places, missed = np.clip(k - above, 0, ties), np.ones(len(above))
    for taken in range(k):
        others = np.maximum(ties - own - taken, 0) / np.maximum(ties - taken, 1)
        missed *= np.where(taken < places, others, 1.0)
    return np.asarray(1 - missed)


FIRST = (1, 5, 10)
MAX_WORDS = 30
EPS, STEPS = "2/255", 10  # of the published attacks
CHANGED, CUT = "captions_changed", "captions_cut"
WAYS, PARTS = ("tr", "ir"), ("above", "ties", "own")
SUCCESS = "attack_success_rate_"  # of a recall: "attack_success_rate_TR@1"
_MARKS = re.compile(r"([,.'!?\"()*#:;~])")
_SPACES = re.compile(r"\s{2,}")


def pre_caption(caption: str, *, max_words: int = MAX_WORDS) -> str:
    """A caption as ALBEF, Co-Attack and SGA read it: lower case, without punctuation, at most 30 words."""
    caption = _MARKS.sub("", caption.lower()).replace("-", " ").replace("/", " ").replace("<person>", "person")
    words = _SPACES.sub(" ", caption).rstrip("\n").strip(" ").split(" ")
    return " ".join(words[:max_words])


class Retrieval(Task):
    """Does an image find one of its captions among all, and a caption its image, within the first K?"""

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The published radius and number of steps where none is given."""
        for name in ("stop_when_fooled", "no_collisions"):
            if given.get(name):
                raise UserError(f"{self.name} has no classes, and so no use for {name}", hint=f"leave out {name}")
        return {"eps": EPS, "steps": STEPS, **given}

    def options_of(self, attack: Attack, given: Mapping[str, Any]) -> dict[str, Any]:
        """With the attack's published step size where none is given."""
        step: Callable[[str, int], str] | None = getattr(attack.settings, "published_step", None)
        if step is None or given.get("alpha"):
            return dict(given)
        return {**given, "alpha": step(given["eps"], given["steps"])}

    def identity(self, drawn: Drawn) -> dict[str, Any]:
        """The captions themselves are in the checksum of the data."""
        return {"task": self.name, "captions": {"prepared": "pre_caption", "max_words": MAX_WORDS}}

    def texts(self, drawn: Drawn) -> list[str]:
        """The captions of each image, one image after the other."""
        return [pre_caption(line) for lines in drawn.captions for line in lines]

    def owners(self, drawn: Drawn) -> Ints | None:
        return self._owners(drawn)

    def _owners(self, drawn: Drawn) -> Ints:
        import numpy as np

        return np.repeat(np.arange(len(drawn.indices)), self._counts(drawn))

    def own(self, drawn: Drawn) -> Ints:
        """The last caption of each image."""
        import numpy as np

        return np.cumsum(self._counts(drawn)) - 1

    def _counts(self, drawn: Drawn) -> list[int]:
        return [len(lines) for lines in drawn.captions]

    def require(self, victim: Victim, drawn: Drawn) -> None:
        """Raises UserError for a caption of which nothing is left."""
        for index, lines in zip(drawn.indices.tolist(), drawn.captions, strict=True):
            for line in lines:
                if not pre_caption(line):
                    raise UserError(
                        f"nothing is left of the caption {line[:40]!r} of image {index} without its punctuation",
                        hint="give the image another caption, and fetch the dataset again with --replace",
                    )

    def goal(
        self, victim: Victim, images: Tensor, labels: Tensor, *, clean: Callable[[], Logits], settings: Any
    ) -> Goal:
        """KL(softmax f(x) || softmax f(x')), of unit length: the image part of Sep-Attack (Zhang et al., 2022)."""
        from ..attacks.base import Goal
        from ..attacks.bert_attack import divergence

        def objective(x: Tensor, before: Tensor) -> tuple[Tensor, Tensor | None]:
            return divergence(before, victim.encode_images(x)).sum(), None

        return Goal(objective, (victim.encode_images(images).detach(),))

    def judge(self, victim: Victim, images: Tensor, own: Ints, *, answer: Callable[[], Logits]) -> Columns:
        """The unit embedding of each image: who is found by whom is known when all are there."""
        from ..models.finite import require_finite

        features = require_finite(victim.encode_images(images), f"the image embeddings of {victim.name}")
        return {"embedding": features.cpu().numpy()}

    def compare(self, before: Columns, after: Columns) -> Columns:
        return {}

    def arrays(
        self, victim: Victim, drawn: Drawn, texts: Sequence[str], *, column: Column, before: Column | None
    ) -> Columns:
        """The ranks of each image's captions, and of each caption's image, now and for clean examples."""
        import numpy as np
        import torch

        from .ranking import distinct_rows, ranks

        features, text_numbers = embedded(victim, texts)
        every = column("embedding")
        images, image_numbers = distinct_rows(every)
        owners, numbers = self._owners(drawn), np.arange(len(texts))
        all_images, different = (torch.from_numpy(rows).to(features.device) for rows in (every, images))
        to_texts = ranks(all_images, features, text_numbers, owners, numbers)
        to_images = ranks(
            features[torch.from_numpy(text_numbers).to(features.device)], different, image_numbers, numbers, owners
        )
        now = {
            f"{way}_{name}": values
            for way, found in zip(WAYS, (to_texts, to_images), strict=True)
            for name, values in found.items()
        }
        return now if before is None else {**now, **{f"clean_{name}": before(name) for name in now}}

    def notes(
        self, victim: Victim, drawn: Drawn, texts: Sequence[str], adv_texts: Sequence[str] | None
    ) -> dict[str, Any]:
        """How many captions the victim cannot see whole, and how many are adversarial."""
        from ..models.token_rows import are_cut

        cut = {CUT: sum(are_cut(victim, adv_texts or texts))}
        if adv_texts is None:
            return cut
        return {**cut, CHANGED: sum(old != new for old, new in zip(texts, adv_texts, strict=True))}

    def measure(self, column: Column, notes: Mapping[str, Any], *, attacked: bool) -> list[Metric]:
        """TR@K over images, IR@K over captions, the success rate of an attack on each, and the shares of captions that
        are cut, and changed."""
        found, n = [], notes["prompts"]
        for way in WAYS:
            above, ties, own = (column(f"{way}_{part}") for part in PARTS)
            clean = stored(column, *(f"clean_{way}_{part}" for part in PARTS)) if attacked else None
            for k in FIRST:
                after, name = chances(above, ties, own, k), f"{way.upper()}@{k}"
                found.append(share(name, math.fsum(after), len(after)))
                if clean:
                    found += success(f"{SUCCESS}{name}", chances(clean[0], clean[1], clean[2], k), after)
        return [*found, *(Metric(name, notes[name] / n, n) for name in (CUT, CHANGED) if name in notes)]

    def counted(self, metric: str) -> str:
        return "captions" if metric.removeprefix(SUCCESS).startswith("IR") else "images"

    def words(self, info: DatasetInfo, column: Column, row: int) -> tuple[str, str, str]:
        """The place of the image's best caption before, and under, the attack."""
        now, before = column("tr_above"), stored(column, "clean_tr_above")
        was = f"caption at place {int(before[0][row]) + 1}" if before else ""
        return f"image {int(column('index')[row])}", was, f"caption at place {int(now[row]) + 1}"

    def turned(self, column: Column) -> npt.NDArray[np.bool_]:
        """The images that another caption is closer to than any of their own."""
        turned: npt.NDArray[np.bool_] = column("tr_above") > 0
        return turned


RETRIEVAL = Retrieval(
    "retrieval",
    title="images to their captions (TR), and captions to their images (IR)",
    source="Karpathy and Fei-Fei, 2015; arXiv 2404.19287, Table VI",
    metrics=tuple(f"{way}@{k}" for way in ("TR", "IR") for k in FIRST),
    details=(*(f"{SUCCESS}{way}@{k}" for way in ("TR", "IR") for k in FIRST), CUT, CHANGED),
    captions=True,
    subset="a subset",
    texts_first=False,
)


def success(name: str, before: Floats, after: Floats) -> list[Metric]:
    """The share of the queries that were answered among the first K which no longer are (Lu et al., 2023): with ties,
    on average over their order. None where none was answered, or less than half a query by ties."""
    answered = math.fsum(before)
    return [share(name, math.fsum(before * (1 - after)), answered)] if round(answered) else []


def embedded(victim: Victim, texts: Sequence[str]) -> tuple[Tensor, Ints]:
    """The embeddings of the different texts, (U, D), and which of them each text is: texts of the same tokens are
    embedded once."""
    import numpy as np

    from ..models.finite import require_finite

    rows = victim.token_rows(texts)
    first: dict[tuple[int, ...], int] = {}
    numbers = np.array([first.setdefault(row, len(first)) for row in rows], dtype=np.int64)
    places = np.unique(numbers, return_index=True)[1]
    features = victim.embed_texts([texts[place] for place in places.tolist()])
    return require_finite(features, f"the text embeddings of {victim.name}"), numbers
