"""Recall at K against a ranking by hand with every order of what ties; captions as the published code reads them."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch

from mmcoa_cli.tasks import ranking
from mmcoa_cli.tasks.ranking import distinct_rows, ranks
from mmcoa_cli.tasks.retrieval import RETRIEVAL, chances, pre_caption
from store.errors import UserError


@cache
def places_of_the_first(tied: int, own: int) -> Counter[int]:
    """In how many orders of so many items the first of `own` of them stands at each place."""
    return Counter(min(at for at, item in enumerate(order) if item < own) for order in permutations(range(tied)))


def by_hand(scores: Any, own: list[set[int]], k: int) -> list[float]:
    """For each row of scores, the share of all orders of its tied items that have one of its own among the first k."""
    found = []
    for row, mine in zip(scores, own, strict=True):
        order: list[tuple[int, ...]] = []
        for value in sorted({float(one) for one in row}, reverse=True):
            order.append(tuple(i for i in range(len(row)) if float(row[i]) == value))
        place = 0
        for tied in order:
            if mine & set(tied):
                first = places_of_the_first(len(tied), len(mine & set(tied)))
                found.append(sum(often for at, often in first.items() if place + at < k) / sum(first.values()))
                break
            place += len(tied)
    return found


def measured(images: Any, texts: Any, owners: list[int], k: int) -> tuple[Any, Any]:
    """The chances of each image, and of each text, as the task computes them."""
    different_texts, text_numbers = distinct_rows(texts)
    different_images, image_numbers = distinct_rows(images)
    every, place = np.arange(len(texts)), np.array(owners)
    tensors = [torch.from_numpy(rows) for rows in (images, different_texts, texts, different_images)]
    to_texts = ranks(tensors[0], tensors[1], text_numbers, place, every)
    to_images = ranks(tensors[2], tensors[3], image_numbers, every, place)
    return tuple(chances(found["above"], found["ties"], found["own"], k) for found in (to_texts, to_images))  # type: ignore[return-value]


def unit(rows: Any) -> Any:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("block", [2, 256])
def test_recall_is_that_of_a_ranking_by_hand(seed: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few different vectors, so that images, captions and scores tie; images have one to four captions."""
    monkeypatch.setattr(ranking, "BLOCK", block)
    rng = np.random.default_rng(seed)
    images = rng.integers(-1, 2, (6, 2)).astype(np.float32)  # whole numbers: their products tie exactly by hand too
    owners = sorted([*range(6), *rng.integers(0, 6, 3).tolist()])
    texts = rng.integers(-1, 2, (len(owners), 2)).astype(np.float32)
    scores = [[sum(float(a) * float(b) for a, b in zip(x, t, strict=True)) for t in texts] for x in images]
    own_texts = [{j for j, owner in enumerate(owners) if owner == i} for i in range(6)]
    for k in (1, 2, 5, 10):
        tr, ir = measured(images, texts, owners, k)
        assert tr.tolist() == pytest.approx(by_hand(scores, own_texts, k), abs=1e-12)
        assert ir.tolist() == pytest.approx(by_hand(np.transpose(scores), [{owner} for owner in owners], k), abs=1e-12)


def test_equal_captions_tie_whatever_their_place() -> None:
    """Of 300 images whose captions are 3 different ones, the chance is a hundredth: rounding decides nothing."""
    rng = np.random.default_rng(0)
    kinds = rng.standard_normal((3, 64))
    images, texts = unit(kinds[np.arange(300) % 3] + 0.01), unit(kinds)[np.arange(300) % 3]
    images = images[np.arange(300) % 3]  # bit for bit the same in each kind
    tr, ir = measured(images, texts, list(range(300)), 1)
    assert tr.tolist() == pytest.approx([0.01] * 300) and ir.tolist() == pytest.approx([0.01] * 300)
    assert measured(images, texts, list(range(300)), 10)[0].tolist() == pytest.approx([0.1] * 300)


def test_without_ties_it_counts_whole_queries() -> None:
    rng = np.random.default_rng(1)
    images, texts = unit(rng.standard_normal((50, 8))), unit(rng.standard_normal((100, 8)))
    owners = np.repeat(np.arange(50), 2)
    scores = images.astype(np.float64) @ texts.T.astype(np.float64)
    place = [min(int((row > row[2 * i + j]).sum()) for j in (0, 1)) for i, row in enumerate(scores)]
    for k in (1, 5, 10):
        tr, ir = measured(images, texts, owners.tolist(), k)
        assert tr.tolist() == [float(one < k) for one in place]
        assert ir.tolist() == [float((scores[:, j] > scores[owners[j], j]).sum() < k) for j in range(100)]


def placed(found: dict[str, Any], *, way: str, scores: Any, own: list[set[int]]) -> dict[str, Any]:
    """The ranks of each query as the task stores them, counted by hand."""
    best = [max(row[i] for i in mine) for row, mine in zip(scores, own, strict=True)]
    tied = [[i for i in range(len(row)) if row[i] == top] for row, top in zip(scores, best, strict=True)]
    found[f"{way}_above"] = np.array([int((row > top).sum()) for row, top in zip(scores, best, strict=True)])
    found[f"{way}_ties"] = np.array([len(places) for places in tied])
    found[f"{way}_own"] = np.array([len(mine & set(places)) for mine, places in zip(own, tied, strict=True)])
    return found


@pytest.mark.parametrize("values", [3, 1000], ids=["ties", "no ties"])
def test_the_success_rate_is_over_the_queries_that_were_answered(values: int) -> None:
    """Each query's chances before and after by every order of what ties; published: answered before, and not after."""
    rng = np.random.default_rng(4)
    owners = np.repeat(np.arange(7), 2)
    own = {"tr": [{2 * i, 2 * i + 1} for i in range(7)], "ir": [{int(owner)} for owner in owners]}
    shape, columns, expected = {"tr": (7, 14), "ir": (14, 7)}, dict[str, Any](), dict[str, tuple[float, float]]()
    for way in ("tr", "ir"):
        clean, attacked = (rng.integers(0, values, shape[way]).astype(float) for _ in range(2))
        clean[np.arange(len(clean)), [min(mine) for mine in own[way]]] += values / 2
        placed(columns, way=way, scores=attacked, own=own[way])
        columns |= {f"clean_{name}": of for name, of in placed({}, way=way, scores=clean, own=own[way]).items()}
        for k in (1, 5, 10):
            before, after = (by_hand(scores, own[way], k) for scores in (clean, attacked))
            turned = sum(was * (1 - now) for was, now in zip(before, after, strict=True))
            expected[f"attack_success_rate_{way.upper()}@{k}"] = (turned / sum(before), sum(before))
    measured = RETRIEVAL.measure(columns.__getitem__, {"prompts": 14}, attacked=True)
    found = {one.name: one for one in measured if "success" in one.name}
    assert {name: (one.value, one.n) for name, one in found.items()} == {
        name: (pytest.approx(value, abs=1e-12), round(n)) for name, (value, n) in expected.items()
    }
    assert all(one.low is not None and one.high is not None and one.low <= one.value <= one.high for one in measured)
    assert 0 < found["attack_success_rate_IR@5"].value < 1 and set(found) < set(RETRIEVAL.details)
    clean_ones = RETRIEVAL.measure(columns.__getitem__, {"prompts": 14}, attacked=False)
    assert [one.name for one in clean_ones] == list(RETRIEVAL.metrics)


def test_no_success_rate_where_nothing_says_what_was_answered() -> None:
    """Of a set that an older version made, and where no query was answered."""
    ones = {f"{way}_{name}": np.ones(3, int) for way in ("tr", "ir") for name in ("above", "ties", "own")}

    def old(name: str) -> Any:
        if name not in ones:
            raise UserError(f"there is no {name}", hint="")
        return ones[name]

    assert not [one for one in RETRIEVAL.measure(old, {"prompts": 3}, attacked=True) if "success" in one.name]
    both = {**ones, **{f"clean_{name}": values for name, values in ones.items()}}
    names = [one.name for one in RETRIEVAL.measure(both.__getitem__, {"prompts": 3}, attacked=True)]
    assert "attack_success_rate_TR@5" in names and "attack_success_rate_TR@1" not in names
    few = {**both, "clean_tr_above": np.array([0, 9, 9]), "clean_tr_ties": np.array([3, 1, 1])}  # a third of one query
    names = [one.name for one in RETRIEVAL.measure(few.__getitem__, {"prompts": 3}, attacked=True)]
    assert "attack_success_rate_TR@5" in names and "attack_success_rate_TR@1" not in names


CAPTIONS = [
    ("A man, (with) a red-hat/scarf.", "a man with a red hat scarf"),
    ("  Two   dogs!\n", "two dogs"),
    ('It\'s "odd": #1 *star*; ~five?', "its odd 1 star five"),
    ("a <person> & a naïve 猫", "a person & a naïve 猫"),
    (" ".join(map(str, range(40))), " ".join(map(str, range(30)))),
    ("?!", ""),
]


@pytest.mark.parametrize(("caption", "read"), CAPTIONS)
def test_captions_are_read_as_published(caption: str, read: str) -> None:
    assert pre_caption(caption) == read
