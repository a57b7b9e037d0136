"""What a masked LM says of prompts: asked for no more than is used, and remembered beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from mmcoa_cli.attacks.bert_attack import prepare
from mmcoa_cli.attacks.candidates import candidates_of
from mmcoa_cli.attacks.settings import BertAttackSettings
from mmcoa_cli.datasets.prompts import class_prompts
from mmcoa_cli.models import stored_lm
from mmcoa_cli.models.load import load_mlm
from mmcoa_cli.models.masked_lm import MaskedLM
from mmcoa_cli.models.origins import STAND_IN, Origin
from mmcoa_cli.models.stored_lm import StoredLM, stored_mlm
from mmcoa_cli.settings import Home
from store.errors import UserError
from store.keys import key_of

PROMPTS = class_prompts(["cat", "dog", "sunflowers", "zebra crossing"], "This is a photo of a {}")
SETTINGS = BertAttackSettings(min_score=-99.0)


@pytest.fixture
def mlm(home: Home) -> StoredLM:
    return stored_mlm("mlm", home)


def loaded(mlm: StoredLM) -> bool:
    return "loaded" in vars(mlm)


def files(home: Home) -> list[Path]:
    return sorted((home.mlms / "mlm" / stored_lm.WORDS).glob("*.json"))


def test_what_was_said_before_is_not_asked_again(home: Home, mlm: StoredLM):
    expected = candidates_of(PROMPTS, mlm=load_mlm("mlm", home), settings=SETTINGS)
    assert files(home) == []  # one that is loaded anyway remembers nothing
    assert candidates_of(PROMPTS, mlm=mlm, settings=SETTINGS) == expected and loaded(mlm)
    assert any(some for words in expected for some in words)
    again = stored_mlm("mlm", home)
    target = prepare(PROMPTS, ["cat"], mlm=again, settings=SETTINGS)
    assert target.candidates == expected and not loaded(again)


@pytest.mark.parametrize(
    "other",
    [
        BertAttackSettings(min_score=0.0), BertAttackSettings(min_score=-99.0, max_candidates=3),
        *(BertAttackSettings(min_score=-99.0, compat=part) for part in ("positions", "case", "words", "release")),
    ],
    ids=str,
)  # fmt: skip
def test_other_settings_are_asked_for_anew(home: Home, mlm: StoredLM, other: BertAttackSettings):
    candidates_of(PROMPTS, mlm=mlm, settings=SETTINGS)
    again = stored_mlm("mlm", home)
    assert candidates_of(PROMPTS, mlm=again, settings=other) == candidates_of(
        PROMPTS, mlm=load_mlm("mlm", home), settings=other
    )
    assert loaded(again)


def test_so_are_other_prompts_and_other_weights(home: Home, mlm: StoredLM):
    candidates_of(PROMPTS, mlm=mlm, settings=SETTINGS)
    again = stored_mlm("mlm", home)
    candidates_of(PROMPTS[:2], mlm=again, settings=SETTINGS)
    assert loaded(again) and len(files(home)) == 2
    model = load_mlm("mlm", home).model
    with torch.no_grad():
        model.get_output_embeddings().bias += torch.linspace(0, 9, model.config.vocab_size)
    (home.mlms / "mlm" / "model.safetensors").unlink()  # which is a link to what other tests have
    model.save_pretrained(home.mlms / "mlm")
    changed = stored_mlm("mlm", home)
    candidates_of(PROMPTS, mlm=changed, settings=SETTINGS)
    assert loaded(changed) and len(files(home)) == 3


def test_what_changes_no_candidates_is_no_reason_to_ask(home: Home, mlm: StoredLM):
    candidates_of(PROMPTS, mlm=mlm, settings=SETTINGS)
    again = stored_mlm("mlm", home)
    more = BertAttackSettings(min_score=-99.0, max_words_changed=3, no_collisions=True, compat="single")
    candidates_of(PROMPTS, mlm=again, settings=more)
    assert not loaded(again)


def sealed(document: Any) -> str:
    return json.dumps([document, key_of(document)])


DAMAGE: dict[str, Callable[[str], str]] = {
    "cut off": lambda text: text[:-20],
    "another word": lambda text: text.replace("a", "b", 1),
    "no JSON": lambda text: "\x00",
    "no list": lambda text: sealed({"words": 1}),
    "fewer prompts": lambda text: sealed(json.loads(text)[0][1:]),
    "fewer words": lambda text: sealed([words[1:] for words in json.loads(text)[0]]),
    "numbers": lambda text: sealed([[[1] for _ in words] for words in json.loads(text)[0]]),
    "text for lists": lambda text: sealed([["cat" for _ in words] for words in json.loads(text)[0]]),
    "signs for a terminal": lambda text: sealed([[["\x1b[2J"] for _ in words] for words in json.loads(text)[0]]),
    "nested": lambda text: "[" * 100_000,
    "not finite": lambda text: "[[Infinity], 1]",
    "too large": lambda text: sealed(["x" * 2**24]),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_cannot_be_trusted_is_asked_for_again(home: Home, mlm: StoredLM, kind: str):
    expected = candidates_of(PROMPTS, mlm=mlm, settings=SETTINGS)
    (file,) = files(home)
    whole = file.read_text(encoding="utf8")
    file.write_text(DAMAGE[kind](whole), encoding="utf8")
    again = stored_mlm("mlm", home)
    assert candidates_of(PROMPTS, mlm=again, settings=SETTINGS) == expected and loaded(again)
    assert file.read_text(encoding="utf8") == whole


@pytest.mark.parametrize("kind", ["a file", "a folder", "a device"])
def test_where_it_cannot_be_remembered_it_is_asked_for(home: Home, mlm: StoredLM, kind: str):
    folder = home.mlms / "mlm" / stored_lm.WORDS
    if kind == "a file":
        folder.write_text("", encoding="utf8")
    else:
        candidates_of(PROMPTS, mlm=mlm, settings=SETTINGS)
        (file,) = files(home)
        file.unlink()
        if kind == "a device":
            os.mkfifo(file)
        else:
            file.mkdir()
    expected = candidates_of(PROMPTS, mlm=load_mlm("mlm", home), settings=SETTINGS)
    assert candidates_of(PROMPTS, mlm=stored_mlm("mlm", home), settings=SETTINGS) == expected


def test_no_more_than_some_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stored_lm, "MOST_FILES", 3)
    monkeypatch.setattr(stored_lm, "MOST_BYTES", 1000)
    for number in range(5):
        stored_lm.remember(tmp_path, f"k{number}", [number])
        os.utime(tmp_path / stored_lm.WORDS / f"k{number}.json", ns=(0, number))
    assert [stored_lm.recall(tmp_path, f"k{number}") for number in range(5)] == [None, None, [2], [3], [4]]
    stored_lm.remember(tmp_path, "large", "x" * 2000)
    assert stored_lm.recall(tmp_path, "large") is None
    assert [path.name for path in sorted((tmp_path / stored_lm.WORDS).iterdir())] == [
        "k2.json", "k3.json", "k4.json",
    ]  # fmt: skip


def test_a_masked_lm_that_was_altered_is_refused_when_it_is_asked(home: Home, mlm: StoredLM):
    candidates_of(PROMPTS, mlm=mlm, settings=SETTINGS)
    weights = home.mlms / "mlm" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    weights.unlink()
    weights.write_bytes(content[:-1])
    with pytest.raises(UserError):
        candidates_of(PROMPTS, mlm=stored_mlm("mlm", home), settings=SETTINGS)


SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", {"hidden_size": 32, "intermediate_size": 32, **SIZES}),
    "distilbert": ("DistilBert", {"dim": 32, "hidden_dim": 32, "n_layers": 2, "n_heads": 2}),
    "electra": ("Electra", {"hidden_size": 32, "intermediate_size": 32, "embedding_size": 16, **SIZES}),
    "mpnet": ("MPNet", {"hidden_size": 32, "intermediate_size": 32, **SIZES}),
    "mobilebert": ("MobileBert", {"hidden_size": 32, "intermediate_size": 32, "embedding_size": 32,
                                  "intra_bottleneck_size": 32, "true_hidden_size": 32, **SIZES}),
    "convbert": ("ConvBert", {"hidden_size": 32, "intermediate_size": 32, "embedding_size": 32, **SIZES}),
    "deberta": ("DebertaV2", {"hidden_size": 32, "intermediate_size": 32, **SIZES}),
}  # fmt: skip
DIRECTLY = ("mobilebert",)  # takes the weights of that layer, and does not call it


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_at_some_places_says_what_it_says_of_all(home: Home, kind: str):
    """For each family of models, whose heads are each written in its own way; and of a text what it says of that alone:
    ConvBERT would see padding."""
    tokenizer, (name, sizes) = load_mlm("mlm", home).tokenizer, KINDS[kind]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(vocab_size=len(tokenizer), max_position_embeddings=64, **sizes)
    model = getattr(transformers, f"{name}ForMaskedLM")(config)
    mlm = MaskedLM(model, tokenizer, name=kind, origin=Origin(STAND_IN))
    asked: list[int] = []
    heads = [model.get_output_embeddings(), *([model.bert.encoder.layer[-1].intermediate] if kind == "bert" else [])]
    for head in heads:
        head.register_forward_pre_hook(lambda _, args: asked.append(args[0].shape[:-1].numel()))
    texts = ["a cat", "this is a photo of a dog", "a", "the horse"]
    at = [[2], [4, 7], [], [1, 2]]
    some = mlm.predict(texts, max_tokens=None, k=5, at=at)
    assert sum(asked) == (0 if kind in DIRECTLY else 5 * len(heads))
    for text, places, found in zip(texts, at, some, strict=True):
        inputs = tokenizer([text], return_tensors="pt")
        with torch.no_grad():
            logits = model(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask).logits[0]
        scores, tokens = logits[places].topk(5, dim=-1)
        assert found.positions == places
        torch.testing.assert_close(found.scores, scores, rtol=0, atol=1e-5)
        assert torch.equal(found.tokens, tokens)
