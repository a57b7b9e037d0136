"""The embedded stand-ins: `tiny-clip` and `tiny-mlm`, trained on the spot, so that every command runs with no network.

They are real models of small size: an open_clip ViT on scikit-learn's digits, and a BertForMaskedLM on sentences that
this module writes. Their numbers say nothing of CLIP, and every table says so.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from store.files import lock, replacing

from .. import catalog
from ..catalog import MlmRow, ModelRow
from ..settings import Home
from ..terminal.console import progress
from .digests import record_of
from .masked_lm import quiet_transformers
from .origins import RECORD, STAND_IN, Origin, Record
from .pretraining import PretrainSpec, pretrain, read_architecture

MLM_EPOCHS, MLM_BATCH, MLM_LENGTH, SEED = 20, 128, 16, 0
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MEDIUMS = ["photo", "picture", "image", "drawing", "sketch", "print", "scan", "painting", "copy", "snapshot"]
THINGS = ["digit", "number", "figure", "symbol", "sign", "shape", "mark", "word", "letter", "line"]


def build_clip(row: ModelRow, home: Home) -> Path:
    """Train the embedded model of a catalog row into the store (under a minute on two cores); returns its folder."""
    config = read_architecture(catalog.file(row.config))
    with _one_thread():
        return pretrain(PretrainSpec(row.name, config, row.trained_on, epochs=row.epochs, lr=2e-3), home)


def build_mlm(row: MlmRow, home: Home) -> Path:
    """Train the embedded masked LM of a catalog row into the store (seconds); returns its Hugging Face folder."""
    target = home.mlms / row.name
    with lock(target, what=f"the masked LM {row.name}"):
        if not target.exists():
            sentences = list(dict.fromkeys(write_sentences()))
            tokenizer = _tokenizer(sentences)
            with _one_thread():
                model = _train_mlm(sentences, tokenizer, name=row.name)
            with replacing(target) as folder:
                folder.mkdir()
                model.save_pretrained(folder)
                tokenizer.save_pretrained(folder)
                record = Record(row.name, Origin(STAND_IN, "mmcoa, from sentences it writes"), record_of(folder))
                (folder / RECORD).write_text(record.text(), encoding="utf8")
    return target


def write_sentences() -> list[str]:
    """The text `tiny-mlm` learns from: what is photographed, and which words stand for the same thing. The words are
    those of the embedded dataset's classes and their synonyms."""
    digits = catalog.datasets()["digits"]
    words = {name: [name, *digits.synonyms[name]] for name in digits.class_names}
    sentences = [f"this is a {medium} of a {thing}" for medium in MEDIUMS for thing in THINGS]
    for same in words.values():
        sentences += [f"this is a {medium} of a {number}" for medium in MEDIUMS for number in same]
        sentences += [f"this {a} is a photo of a {b}" for a, b in itertools.permutations(same, 2)]
        for a, b, c in itertools.combinations(same, 3):
            sentences += [f"{a} or {b} or {c}", f"{c} or {a} or {b}"]
    return sentences


@contextmanager
def _one_thread() -> Iterator[None]:
    """Such small matrices are multiplied faster by one thread, and come out the same on every number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _tokenizer(sentences: Sequence[str]) -> Any:
    """The one whose vocabulary is the words of the sentences."""
    words = sorted({word for sentence in sentences for word in sentence.split()})
    return bert_tokenizer(words, length=MLM_LENGTH * 4)


def bert_tokenizer(words: Iterable[str], *, length: int) -> Any:
    """A lower-casing BERT tokenizer of these words and pieces, which reads so many of them."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(dict.fromkeys([*SPECIAL, *words]))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    )
    named = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=length, **named)


def _train_mlm(sentences: Sequence[str], tokenizer: Any, *, name: str) -> Any:
    """BERT's masked-LM objective: of some words 80% are masked, 10% replaced, 10% left; only they are scored. 40% of
    them, not 15: so small a model learns as much in two thirds of the steps (Wettig et al., 2023)."""
    from transformers import BertConfig, BertForMaskedLM, DataCollatorForLanguageModeling

    torch.manual_seed(SEED)
    quiet_transformers()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MLM_LENGTH * 4,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.1,
    )
    model = BertForMaskedLM(config)
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.4, seed=SEED)
    encoded = tokenizer(list(sentences), truncation=True, max_length=MLM_LENGTH)["input_ids"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, fused=True)
    steps = MLM_EPOCHS * -(-len(encoded) // MLM_BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=steps, pct_start=0.1)
    rng = np.random.default_rng(SEED)
    total = MLM_EPOCHS * len(encoded)
    with progress(f"training {name}", total=total, unit="sentences") as task, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(MLM_EPOCHS):
            order = rng.permutation(len(encoded))
            for start in range(0, len(order), MLM_BATCH):
                chosen = order[start : start + MLM_BATCH]
                batch = collate([{"input_ids": encoded[i]} for i in chosen])
                loss = model(**batch).loss
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                task.advance(len(chosen), note=f"loss {loss.item():.3f}")
    return model.eval()
