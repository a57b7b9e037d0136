"""How many operations the work takes at the least, counted by hand."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch

from mmcoa_cli.bench.floor import Machine, Work, tokens_attacked, tokens_of
from mmcoa_cli.bench.race import Running
from mmcoa_cli.models.clip import Clip


def test_the_operations_of_a_vision_transformer() -> None:
    """ViT-B-32: 49 patches of 32 x 32 x 3, then 12 blocks of 50 tokens of 768: four times width x width for queries,
    keys, values and output, eight for the perceptron, and two products of tokens with tokens; then 768 -> 512."""
    work = Work({"model_cfg": open_clip.get_model_config("ViT-B-32")}, side=224, context=77)
    block = 50 * 12 * 768**2 + 2 * 50 * 50 * 768
    assert work.image == pytest.approx(2 * (49 * 3072 * 768 + 12 * block + 768 * 512), rel=1e-3)
    of_token = 12 * (12 * 512**2 + 2 * 77 * 512)
    assert work.token == pytest.approx(2 * (of_token + 512 * 512 / 77), rel=1e-3)


def test_equal_beginnings_of_texts_are_read_once(small_clips: dict[str, Clip]) -> None:
    """Start, four words, end: 6. With another last word 2 more; "a cat" has 3 after the start."""
    clip = small_clips["vit"]
    assert tokens_of(clip, ["photo of a cat"]) == 6
    assert tokens_of(clip, ["photo of a cat", "photo of a dog", "photo of a cat"]) == 8
    assert tokens_of(clip, ["photo of a cat", "a cat"]) == 9
    with_unknown = [(row, clip.token_rows([row])[0]) for row in ("[UNK] cat", "a [UNK]")]
    unknown = len(with_unknown[0][1]) - 3  # tokens of "[UNK]"
    # "red cat": 4; "[UNK] cat" shares the start; "red [UNK]" shares the start and "red"; ten words and their ends
    assert tokens_attacked(clip, ["red cat"]) == 4 + (unknown + 2) + (unknown + 1) + 10 * 2
    # "a" is no word that changes: nothing asks how important it is
    assert tokens_attacked(clip, ["a cat"]) == 4 + (unknown + 1) + 10 * 2


def test_the_rates_of_this_machine(tmp_path: Path) -> None:
    machine = Machine(torch.device("cpu"), "fp32", tmp_path)
    for race in machine.races():
        running = Running(race, "cpu", machine.wait)
        running.run(1)
        (row,) = running.rows()
        assert row.seconds > 0 and row.part == "machine"
    assert machine.nominal is None
    twice, once = (machine.products(flops) for flops in (2e9, 1e9))
    assert once.units == 2 * twice.units
