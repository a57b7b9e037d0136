"""What a prediction counts: ties by hand, against random choices, and for prompts that are the same to the model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmcoa_cli.models.clip import Clip
from mmcoa_cli.tasks.classification import (
    CLASSIFICATION,
    FOOLED,
    HELD,
    TIED,
    WRONG_BEFORE,
    classifier,
    distinct,
    judged,
    outcomes,
    success_rate,
)


def test_ties_by_hand():
    """Four classes: won alone, lost alone, a tie of two with the label and without it, a tie of all four."""
    logits = torch.tensor([[3.0, 1, 2, 0], [3, 1, 2, 0], [1, 5, 5, 0], [1, 5, 5, 0], [7, 7, 7, 7]])
    found = judged(logits, torch.tensor([0, 2, 2, 0, 3]))
    assert found["credit"].tolist() == [1, 0, 0.5, 0, 0.25]
    assert found["prediction"].tolist() == [0, 0, 1, 1, 0]  # of a tie the first
    # clean: all right but the second; so of 4 samples 0 + 0.5 + 1 + 0.75 are turned
    before = np.array([1.0, 0, 1, 1, 1])
    success = success_rate(before, found["credit"])
    assert success is not None and success.value == pytest.approx(2.25 / 4)
    assert outcomes(before, found["credit"]).tolist() == [HELD, WRONG_BEFORE, TIED, FOOLED, TIED]
    assert success_rate(np.zeros(5), found["credit"]) is None
    assert success_rate(np.array([1 / 3, 0, 0, 0, 0]), found["credit"]) is None  # of no whole image


def test_probabilities_by_hand():
    """Logits ln 6, ln 3, ln 1: six, three and one tenth."""
    logits = torch.log(torch.tensor([[6.0, 3, 1], [3, 1, 6]]))
    found = judged(logits, torch.tensor([0, 1]))
    assert found["prediction_probability"].tolist() == pytest.approx([0.6, 0.6], abs=1e-6)
    assert found["label_probability"].tolist() == pytest.approx([0.6, 0.1], abs=1e-6)
    columns = {**found, **CLASSIFICATION.compare(judged(logits[[1, 0]], torch.tensor([0, 1])), found)}
    assert CLASSIFICATION.sure(columns.__getitem__, 1) == pytest.approx((0.6, 0.6))
    assert columns["clean_label_probability"].tolist() == pytest.approx([0.3, 0.3], abs=1e-6)


def test_a_tie_counts_what_random_choices_count_on_average():
    rng = np.random.default_rng(0)
    logits, labels = rng.integers(0, 4, (200, 6)).astype(np.float32), rng.integers(0, 6, 200)
    clean = rng.integers(0, 2, 200).astype(float)
    found = judged(torch.from_numpy(logits), torch.from_numpy(labels))
    accuracies, rates = [], []
    for _ in range(4000):
        noise = rng.random(logits.shape)  # breaks ties alone: logits are whole numbers
        right = (logits + noise * 0.5).argmax(axis=1) == labels
        accuracies.append(right.mean())
        rates.append((clean * ~right).sum() / clean.sum())
    assert 0 < (found["credit"] % 1 > 0).mean() < 1
    assert found["credit"].mean() == pytest.approx(np.mean(accuracies), abs=4 * np.std(accuracies) / 4000**0.5)
    success = success_rate(clean, found["credit"])
    assert success is not None and success.value == pytest.approx(np.mean(rates), abs=4 * np.std(rates) / 4000**0.5)


def test_a_tie_does_not_depend_on_the_order_of_classes():
    rng = np.random.default_rng(1)
    logits, labels = torch.from_numpy(rng.integers(0, 3, (50, 5)).astype(np.float32)), torch.arange(50) % 5
    credit = judged(logits, labels)["credit"]
    for _ in range(10):
        order = torch.from_numpy(rng.permutation(5))
        assert judged(logits[:, order], order.argsort()[labels])["credit"].tolist() == credit.tolist()


def test_prompts_of_the_same_tokens_tie_exactly(small_clips: dict[str, Clip]):
    """Whatever they look like, and in whichever place they stand; all others differ."""
    clip = small_clips["vit"]
    others = [f"a photo of a {word}" for word in ("dog", "bird", "ship", "truck", "frog", "horse", "deer")]
    prompts = ["a photo of a cat", *others, "A photo of a CAT", "a  photo of a cat ", "a photo of a c\uff41t"]
    assert distinct(clip, prompts) == 8
    with torch.no_grad():
        logits = classifier(clip, prompts)(torch.rand(33, 3, 16, 16))
    assert logits.shape == (33, len(prompts))
    for k in (8, 9, 10):
        assert torch.equal(logits[:, 0], logits[:, k])
    assert len({tuple(column) for column in logits.T.tolist()}) == 8
    plain = clip.scale * clip.encode_images(torch.zeros(1, 3, 16, 16)) @ clip.embed_texts(prompts).T
    assert classifier(clip, prompts)(torch.zeros(1, 3, 16, 16)).allclose(plain, atol=1e-4)


def test_a_prompt_that_is_cut_ties_with_the_one_it_is_cut_to(small_clips: dict[str, Clip]):
    prompts = ["cat " * 13 + "dog", "cat " * 13 + "dog bird", "cat " * 13 + "dog ship"]
    assert distinct(small_clips["vit"], prompts) == 1


def test_the_first_class_of_a_tie_wins_it_where_that_is_asked_for():
    """Of a tie between the classes 1 and 2 class 1 gets all, class 2 nothing; where nothing ties nothing changes."""
    logits = torch.tensor([[3.0, 1, 2], [0, 5, 5], [0, 5, 5], [7, 7, 7]])
    stored = {"label": np.array([0, 1, 2, 1]), "outcome": np.zeros(4)}
    stored |= judged(logits, torch.tensor([0, 1, 2, 1]))
    stored |= {f"clean_{name}": stored[name] for name in ("prediction", "credit")}
    shared, first = stored.__getitem__, CLASSIFICATION.first_wins(stored.__getitem__)
    assert shared("credit").tolist() == pytest.approx([1, 0.5, 0.5, 1 / 3])
    assert first("credit").tolist() == first("clean_credit").tolist() == [1, 1, 0, 0]
    assert first("outcome") is stored["outcome"]
    values = {
        rule: {m.name: m.value for m in CLASSIFICATION.measure(column, {}, attacked=True)}
        for rule, column in (("shared", shared), ("first", first))
    }
    assert values["first"]["robust_accuracy"] == 0.5
    assert values["shared"]["robust_accuracy"] == pytest.approx(7 / 12)
