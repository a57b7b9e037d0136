"""The embedded masked LM: the text it learns from, its tokenizer, and what it knows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from mmcoa_cli import catalog
from mmcoa_cli.attacks.bert_attack import prepare
from mmcoa_cli.attacks.settings import BertAttackSettings
from mmcoa_cli.datasets.prompts import class_prompts
from mmcoa_cli.models import embedded, library
from mmcoa_cli.models.library import mlm_path
from mmcoa_cli.models.masked_lm import load_masked_lm
from mmcoa_cli.models.origins import STAND_IN
from mmcoa_cli.settings import Home


def test_the_sentences_have_every_word_of_the_prompts_and_the_synonyms() -> None:
    digits = catalog.datasets()["digits"]
    known = {word for sentence in embedded.write_sentences() for word in sentence.split()}
    prompts = class_prompts(digits.class_names, digits.template)
    assert {word.lower() for prompt in prompts for word in prompt.split()} <= known
    assert {word for words in digits.synonyms.values() for word in words} <= known


def test_the_tokenizer_keeps_words_whole_and_lower_cases() -> None:
    tokenizer = embedded._tokenizer(embedded.write_sentences())
    assert tokenizer.tokenize("This is a PHOTO of a seven") == ["this", "is", "a", "photo", "of", "a", "seven"]
    ids = tokenizer("this is").input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "this", "is", "[SEP]"]
    assert tokenizer.mask_token == "[MASK]" and tokenizer.pad_token_id == 0


def test_one_thread_and_back() -> None:
    before = torch.get_num_threads()
    with embedded._one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_the_masked_lm_knows_other_words_for_a_class(stand_ins: Path) -> None:
    """In a prompt it offers synonyms of the class, which is what makes the text attack one; and it is made once."""
    row, digits, home = catalog.mlms()["tiny-mlm"], catalog.datasets()["digits"], Home(stand_ins, "")
    folder = home.mlms / "tiny-mlm"
    mlm = load_masked_lm(folder, name=row.name)
    assert mlm.origin.kind == STAND_IN
    prompts = class_prompts(digits.class_names, digits.template)
    target = prepare(prompts, digits.class_names, mlm=mlm, settings=BertAttackSettings())
    offered = [set(words[-1]) for words in target.candidates]
    synonyms = [set(digits.synonyms[name]) for name in digits.class_names]
    assert sum(bool(one & other) for one, other in zip(offered, synonyms, strict=True)) >= 7
    written = (folder / "model.safetensors").stat()
    assert embedded.build_mlm(row, home) == folder
    assert (folder / "model.safetensors").stat() == written


@pytest.mark.slow
def test_two_that_replace_it_at_once(stand_ins: Path, tmp_path: Path) -> None:
    """The first has removed it when the second gets its turn."""
    home = Home(tmp_path, "")
    shutil.copytree(stand_ins / "models" / "mlm", home.mlms)
    place = mlm_path("tiny-mlm", home)
    first = FileLock(place.with_name(f"{place.name}.lock"))
    waits: list[str] = []

    def end(message: str) -> None:
        waits.append(message)
        shutil.rmtree(place)
        first.release()

    with first, pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "say", end)  # what the second says while it waits
        patch.setattr(embedded, "MLM_EPOCHS", 1)
        assert library.fetch_mlm("tiny-mlm", home, replace=True)
    assert waits == ["waiting for another process that fetches the masked LM tiny-mlm"]
    assert (place / "model.safetensors").exists()
