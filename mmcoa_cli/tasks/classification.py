"""Images to classes: logits against the K class prompts, and what a prediction counts where classes tie.

An attack may give several classes the same prompt. Their logits are equal, and which of them is "the" prediction is an
accident; so a tie among m classes counts 1/m, and an accuracy is what it would be on average over the choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .base import Drawn, Metric, Task, share, stored

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from store.dataset_info import DatasetInfo

    from ..attacks.base import Goal
    from ..models.victim import Victim
    from .base import Column, Columns, Logits

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

SURE, SURE_OF_LABEL = "prediction_probability", "label_probability"
WRONG_BEFORE, HELD, FOOLED, TIED = 0, 1, 2, 3  # the outcome of one sample; TIED: held by some choices, not by others


class Classification(Task):
    """Which of the K class prompts of its dataset does the model find closest to an image?"""

    def identity(self, drawn: Drawn) -> dict[str, Any]:
        """The prompts."""
        return {"prompts": self.texts(drawn)}

    def texts(self, drawn: Drawn) -> list[str]:
        """One prompt a class."""
        from ..datasets.prompts import class_prompts

        return class_prompts(drawn.dataset.info.class_names, drawn.dataset.info.template)

    def owners(self, drawn: Drawn) -> Ints | None:
        return None

    def own(self, drawn: Drawn) -> Ints:
        """The prompt of each image's class."""
        return drawn.labels

    def require(self, victim: Victim, drawn: Drawn) -> None:
        """Raises UserError, which names them, for classes that the victim cannot tell apart or see whole."""
        from ..models.token_rows import require_distinct_prompts

        require_distinct_prompts(victim, self.texts(drawn), drawn.dataset.info.class_names)

    def logits(self, victim: Victim, texts: Sequence[str]) -> Logits:
        """Pixels (B, 3, S, S) -> logits (B, K) against these prompts."""
        return classifier(victim, texts)

    def goal(
        self, victim: Victim, images: Tensor, labels: Tensor, *, clean: Callable[[], Logits], settings: Any
    ) -> Goal:
        """CE(f(x'), T) of the image's class."""
        from ..attacks.pgd import cross_entropy

        return cross_entropy(clean(), labels, stop_when_fooled=settings.stop_when_fooled)

    def judge(self, victim: Victim, images: Tensor, own: Ints, *, answer: Callable[[], Logits]) -> Columns:
        """Each sample's `prediction` and its `credit`, and the probabilities of its prediction and its label."""
        import torch

        from ..models.finite import require_finite

        logits = require_finite(answer()(images), f"the logits of {victim.name}")
        return judged(logits, torch.from_numpy(own).to(logits.device))

    def compare(self, before: Columns, after: Columns) -> Columns:
        """What came out for clean examples, and the outcome of each sample, from its credit."""
        clean = {f"clean_{name}": values for name, values in before.items()}
        return {**clean, "outcome": outcomes(before["credit"], after["credit"])}

    def notes(
        self, victim: Victim, drawn: Drawn, texts: Sequence[str], adv_texts: Sequence[str] | None
    ) -> dict[str, Any]:
        """How many prompts name another class, and how many are different to the victim."""
        from ..attacks.bert_attack import collisions

        if adv_texts is None:
            return {}
        found = collisions(adv_texts, texts, list(drawn.dataset.info.class_names))
        return {"collisions": found, "distinct_prompts": distinct(victim, adv_texts)}

    def measure(self, column: Column, notes: Mapping[str, Any], *, attacked: bool) -> list[Metric]:
        """The accuracy, the success rate of an attack, and the shares of the K prompts that collide and that differ."""
        before, after = column("clean_credit"), column("credit")
        accuracy = share("robust_accuracy" if attacked else "clean_accuracy", math.fsum(after), len(after))
        success = success_rate(before, after) if attacked else None
        prompts = notes.get("prompts", 0)
        counts = [Metric(n, notes[n] / prompts, prompts) for n in ("collisions", "distinct_prompts") if n in notes]
        return [accuracy, *([success] if success else []), *counts]

    def first_wins(self, column: Column) -> Column:
        """What is stored, with a credit of 1 for the class that `argmax` takes of a tie, which is the first."""
        of = {"credit": "prediction", "clean_credit": "clean_prediction"}

        def read(name: str) -> npt.NDArray[Any]:
            return (column(of[name]) == column("label")).astype(float) if name in of else column(name)

        return read

    def credits(self, metric: str, column: Column) -> Floats | None:
        """Those of the accuracies."""
        return column("credit") if metric in self.metrics else None

    def words(self, info: DatasetInfo, column: Column, row: int) -> tuple[str, str, str]:
        """The names of its class and of the two predictions."""
        label, before, after = (int(column(name)[row]) for name in ("label", "clean_prediction", "prediction"))
        return info.class_names[label], info.class_names[before], info.class_names[after]

    def sure(self, column: Column, row: int) -> tuple[float, float] | None:
        """The softmax of the logits at the two predictions."""
        found = stored(column, f"clean_{SURE}", SURE)
        return (float(found[0][row]), float(found[1][row])) if found else None

    def turned(self, column: Column) -> npt.NDArray[np.bool_]:
        """Those that were right before, and are wrong, or tied, under the attack."""
        outcome = column("outcome")
        turned: npt.NDArray[np.bool_] = (outcome == FOOLED) | (outcome == TIED)
        return turned


CLASSIFICATION = Classification(
    "classification",
    title="images to the class prompts of their dataset",
    source="Radford et al., 2021",
    metrics=("clean_accuracy", "robust_accuracy"),
    details=("attack_success_rate", "collisions", "distinct_prompts"),
)


def classifier(victim: Victim, prompts: Sequence[str]) -> Logits:
    """Pixels -> logits against these prompts, whose embeddings are computed once.

    Classes whose prompts are the same tokens share a column of the product, so that they tie exactly rather than up to
    rounding.
    """
    import torch

    from ..models.finite import require_finite

    rows = victim.token_rows(prompts)
    numbers = {row: number for number, row in enumerate(dict.fromkeys(rows))}
    columns = [numbers[row] for row in rows]
    unique = [prompts[columns.index(number)] for number in range(len(numbers))]
    text_features, scale = victim.embed_texts(unique), victim.scale.detach()
    require_finite(text_features, f"the text embeddings of {victim.name}")
    if len(unique) == len(prompts):
        return lambda images: scale * victim.encode_images(images) @ text_features.T
    of_class = torch.tensor(columns, device=text_features.device)  # once: a list would be copied to a GPU every time
    return lambda images: (scale * victim.encode_images(images) @ text_features.T)[:, of_class]


def judged(logits: Tensor, labels: Tensor) -> dict[str, npt.NDArray[Any]]:
    """Of logits (B, K) and labels (B,): each sample's `prediction` (of a tie the first class), its `credit`, 1/m where
    its label is one of the m classes of the greatest logit, else 0, and what the softmax gives these two classes."""
    best = logits == logits.amax(dim=1, keepdim=True)
    hit = best.gather(1, labels[:, None])[:, 0]
    credit = hit.cpu().double() / best.sum(dim=1).clamp_min(1).cpu()
    prediction, probabilities = logits.argmax(dim=1), logits.float().softmax(dim=1)
    return {
        "prediction": prediction.cpu().numpy(),
        "credit": credit.numpy(),
        SURE: probabilities.gather(1, prediction[:, None])[:, 0].cpu().numpy(),
        SURE_OF_LABEL: probabilities.gather(1, labels[:, None])[:, 0].cpu().numpy(),
    }


def outcomes(before: Floats, after: Floats) -> npt.NDArray[np.uint8]:
    """What became of each sample, from its credit before and under the attack."""
    import numpy as np

    held = np.where(after >= before, HELD, np.where(after > 0, TIED, FOOLED))
    return np.where(before == 0, WRONG_BEFORE, held).astype(np.uint8)


def success_rate(before: Floats, after: Floats) -> Metric | None:
    """The share of the correctly classified samples that the attack turns, on average over ties; None without any, and
    where one that ties counts less than half."""
    correct = math.fsum(before)
    return share("attack_success_rate", math.fsum(before * (1 - after)), correct) if round(correct) else None


def distinct(victim: Victim, prompts: Sequence[str]) -> int:
    """How many different prompts these are to the model."""
    return len(set(victim.token_rows(prompts)))
