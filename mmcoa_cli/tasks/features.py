"""Where a model puts images before and under an attack: the cosine of the two, and a plane for the eye (t-SNE).

The cosine is a measurement; the plane is a picture. t-SNE keeps neighbours and nothing else: distances between groups,
and their sizes, say nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from .base import Drawn, Metric
from .classification import CLASSIFICATION, Classification

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from store.dataset_info import DatasetInfo

    from ..models.victim import Victim
    from .base import Column, Columns, Logits

    Floats = npt.NDArray[np.float32]
    Ints = npt.NDArray[np.int64]

COMPONENTS = 50  # of the PCA before t-SNE, as its authors advise
PERPLEXITY = 30.0
MOST = 500  # images in the plane, the classes as equal as can be; the cosine is over all
SEED = 0  # of the images in the plane, and of t-SNE


class Features(Classification):
    """How far does an attack move an image's embedding?"""

    def identity(self, drawn: Drawn) -> dict[str, Any]:
        """The prompts, which the attack knows, and how the plane is made."""
        plane = {"components": COMPONENTS, "perplexity": PERPLEXITY, "most": MOST, "seed": SEED}
        return {**super().identity(drawn), "task": self.name, "plane": plane}

    def judge(self, victim: Victim, images: Tensor, own: Ints, *, answer: Callable[[], Logits]) -> Columns:
        """The unit embedding of each image."""
        from ..models.finite import require_finite

        features = require_finite(victim.encode_images(images), f"the image embeddings of {victim.name}")
        return {"embedding": features.float().cpu().numpy()}

    def compare(self, before: Columns, after: Columns) -> Columns:
        """The cosine of the two embeddings of each image."""
        import numpy as np

        one, other = before["embedding"], after["embedding"]
        cosine = (one.astype(np.float64) * other).sum(axis=1)
        return {"cosine": cosine.astype(np.float32)}

    def arrays(
        self, victim: Victim, drawn: Drawn, texts: Sequence[str], *, column: Column, before: Column | None
    ) -> Columns:
        """The images in the plane (m,), and their places before and under the attack (m, 2)."""
        import numpy as np

        from ..datasets.sampling import balanced_subset

        shown = balanced_subset(column("label"), MOST, seed=SEED)
        clean, adversarial = ((found or column)("embedding")[shown] for found in (before, None))
        places = plane(np.concatenate([clean, adversarial]), seed=SEED)
        return {"shown": shown, "clean_place": places[: len(shown)], "adversarial_place": places[len(shown) :]}

    def notes(
        self, victim: Victim, drawn: Drawn, texts: Sequence[str], adv_texts: Sequence[str] | None
    ) -> dict[str, Any]:
        return {}

    def measure(self, column: Column, notes: Mapping[str, Any], *, attacked: bool) -> list[Metric]:
        """The mean cosine, with the 95% interval of a mean: of one image, that of all cosines."""
        import numpy as np

        cosines = column("cosine").astype(np.float64)
        n, mean = len(cosines), float(cosines.mean())
        half = NormalDist().inv_cdf(0.975) * float(cosines.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
        mean = min(1.0, mean)  # a clean image's cosine with itself is 1 up to rounding
        return [Metric("mean_cosine", mean, n, max(-1.0, mean - half), min(1.0, mean + half))]

    def words(self, info: DatasetInfo, column: Column, row: int) -> tuple[str, str, str]:
        """The name of its class, and the cosine."""
        return info.class_names[int(column("label")[row])], "", f"cosine {float(column('cosine')[row]):.3f}"

    def turned(self, column: Column) -> npt.NDArray[np.bool_]:
        """Those that the attack moved by more than half of all are."""
        import numpy as np

        cosines = column("cosine")
        turned: npt.NDArray[np.bool_] = cosines < np.median(cosines)
        return turned


def plane(features: Floats, *, seed: int) -> Floats:
    """Features (n, D) -> (n, 2): PCA to at most 50 components, then t-SNE from the first two; the same by each seed. Of
    features that are all the same, in one point."""
    import numpy as np
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if (features == features[:1]).all():  # of which t-SNE divides by 0, and ends the process
        return np.zeros((len(features), 2), np.float32)
    components = min(COMPONENTS, *features.shape)
    reduced = PCA(components, svd_solver="full").fit_transform(features.astype(np.float64))
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    found: Floats = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
    return found.astype(np.float32)


FEATURES = Features(
    "features",
    title="an image's embedding before and under an attack: their cosine, and a plane of both (t-SNE)",
    source="van der Maaten and Hinton, 2008; arXiv 2404.19287, Figure 9",
    metrics=("mean_cosine",),
    shares=False,
    examples_of=CLASSIFICATION.name,
)
