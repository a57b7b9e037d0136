"""A bench of a small model, and a masked LM that knows many words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmcoa_cli.bench.asked import Asked
from mmcoa_cli.bench.bench import Bench
from mmcoa_cli.bench.subject import tokenizer_of_berts_size
from mmcoa_cli.models.masked_lm import MaskedLM, quiet_transformers
from mmcoa_cli.models.origins import STAND_IN, Origin
from mmcoa_cli.settings import Home


@pytest.fixture
def bench(home: Home, tmp_path: Path) -> Callable[..., Bench]:
    """Makes a bench of the model `vit` of the store."""

    def make(*parts: str, model: str = "vit", **options: Any) -> Bench:
        (tmp_path / "bench").mkdir(exist_ok=True)
        asked = Asked(parts, model, "mlm", **{"quick": True, **options})
        return Bench(asked, home, tmp_path / "bench", torch.device("cpu"))

    return make


@pytest.fixture(scope="session")
def wordy() -> MaskedLM:
    """A small BERT of random weights with BERT-base's number of words, sure enough of its guesses."""
    from transformers import BertConfig, BertForMaskedLM

    quiet_transformers()
    torch.manual_seed(0)
    tokenizer = tokenizer_of_berts_size()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        initializer_range=0.5,
    )  # fmt: skip
    return MaskedLM(BertForMaskedLM(config), tokenizer, name="wordy", origin=Origin(STAND_IN, "a test"))
