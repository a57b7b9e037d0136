"""What is measured: a CLIP and a masked LM of the store, or models of the same architecture with random weights.

Speed does not depend on weights, so that nothing has to be fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import open_clip
import torch

from store.errors import UserError

from .. import catalog
from ..catalog import ModelRow
from ..jobs.training_spec import DEFAULT_MLM
from ..models.clip import Clip
from ..models.embedded import SPECIAL, bert_tokenizer
from ..models.library import clip_path, mlm_path
from ..models.load import load_mlm, load_model
from ..models.masked_lm import MaskedLM, quiet_transformers
from ..models.new_clip import new_clip
from ..models.origins import STAND_IN, Origin
from ..models.pretraining import read_architecture
from ..names import meant, store_name
from ..settings import Home

RANDOM, STORED = "random", "of the store"
VOCABULARY = 30522  # bert-base-uncased's
DATASETS = ("cifar10", "cifar100", "imagenet")  # whose class names are taken, the smallest that has enough


def load_clip_of(name: str, home: Home) -> Clip:
    """The CLIP, with random weights where it is not here. Raises UserError for what is no architecture either."""
    if clip_path(name, home).exists():
        return load_model(name, home)
    return new_clip(_architecture(name), name=name, seed=0)


def require_clip(name: str, home: Home) -> None:
    """Raises UserError as `load_clip_of` does, before anything is measured."""
    if not clip_path(name, home).exists():
        _architecture(name)


def _architecture(name: str) -> dict[str, Any]:
    row = catalog.models().get(name, ModelRow(name))
    if row.embedded:
        return dict(read_architecture(catalog.file(row.config)))
    store_name(name)
    architecture = row.architecture or name.partition(":")[0]
    config = open_clip.get_model_config(architecture) if architecture in open_clip.list_models() else None
    if config is None:
        known = [*catalog.models(), *open_clip.list_models()]
        raise UserError(
            f"there is no model called {name!r}",
            hint=f"{meant(name, known)} mmcoa bench takes models of the store and open_clip's architectures".strip(),
        )
    return {"model_cfg": config}


def load_mlm_of(name: str, home: Home) -> MaskedLM:
    """The masked LM; one with random weights, of BERT-base's size, where that is not here. Raises UserError."""
    if mlm_path(name, home).exists():
        return load_mlm(name, home)
    require_mlm(name, home)
    return _random_bert()


def require_mlm(name: str, home: Home) -> None:
    """Raises UserError as `load_mlm_of` does."""
    if name != DEFAULT_MLM and not mlm_path(name, home).exists():
        raise UserError(f"the masked LM {name} is not in the store", hint=f"mmcoa fetch {name}")


def _random_bert() -> MaskedLM:
    from transformers import BertConfig, BertForMaskedLM

    quiet_transformers()
    torch.manual_seed(0)
    tokenizer = tokenizer_of_berts_size()
    model = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer)))
    return MaskedLM(model, tokenizer, name=DEFAULT_MLM, origin=Origin(STAND_IN, "mmcoa"))


def tokenizer_of_berts_size() -> Any:
    """With as many words as BERT's, the most frequent of CLIP's vocabulary."""
    return bert_tokenizer(islice(dict.fromkeys(_pieces()), VOCABULARY - len(SPECIAL)), length=512)


def _pieces() -> Iterator[str]:
    """Letters alone and inside words, the names of classes, and CLIP's words and pieces, the frequent ones first."""
    for letter in "abcdefghijklmnopqrstuvwxyz0123456789'.,-()&":
        yield from (letter, f"##{letter}")
    for name in DATASETS[:2]:
        yield from (word for one in _names_in(name) for word in one.split(" "))
    for token in open_clip.SimpleTokenizer().encoder:
        word = token.removesuffix("</w>")
        if word.isascii() and word.isalpha():
            yield word if token.endswith("</w>") else f"##{word}"


def class_names(number: int) -> list[str]:
    """So many class names, each once, of the smallest dataset of the paper that has enough."""
    for dataset in DATASETS:
        names = _names_in(dataset)
        if len(names) >= number:
            return names[:number]
    return (names + [f"{name} again" for name in names])[:number]  # imagenet has two names twice


def _names_in(dataset: str) -> list[str]:
    return list(dict.fromkeys(name.lower().replace("_", " ") for name in catalog.datasets()[dataset].class_names))
