"""BERT-Attack, both variants, against plain computations that take one prompt at a time and batch or cut nothing."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from mmcoa_cli.attacks.masked_lm import MaskedLM, load_masked_lm
from mmcoa_cli.attacks.stop_words import STOP_WORDS
from mmcoa_cli.attacks.text import TextAttack, attack_prompts, collisions, divergence, prepare, word_importance
from mmcoa_cli.models import Clip
from mmcoa_cli.origins import OWN, STAND_IN, Origin
from mmcoa_cli.prompts import class_prompts
from store.errors import UserError

TEMPLATE = "This is a photo of a {}"
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
TREES = ["maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"]
AWKWARD = ["t-shirt", "bird's nest", "jack-o'-lantern", "hen-of-the-woods", "black-and-white colobus", "St. Bernard",
           "poke bonnet", "hair drier", "Sunflowers", "crème brûlée", "café/bar", "zzyzx"]  # fmt: skip
PIECES = """
this is a photo of an image picture drawing the one some no very with not cat cats dog dogs horse deer bird ship truck
frog plane car tree maple oak palm fire sun nest shirt red blue green old new small large wild happy house garden river
##s ##es ##ing ##flower ##ed ##ter ' - . / t o s jack lantern air ##plane auto ##mobile hen woods
"""


def wordpiece_tokenizer() -> PreTrainedTokenizerFast:
    """A lower-casing BERT tokenizer of PIECES."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {piece: number for number, piece in enumerate([*special, *PIECES.split()])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    )
    named = {f"{token.strip('[]').lower()}_token": token for token in special}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=48, **named)


def random_mlm(seed: int, *, spread: float = 0.5) -> MaskedLM:
    """A BERT with random weights, so large that its logits reach well over and under 0.3."""
    torch.manual_seed(seed)
    tokenizer = wordpiece_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(
        vocab_size=len(tokenizer), max_position_embeddings=48, initializer_range=spread, pad_token_id=0, **sizes
    )
    return MaskedLM(BertForMaskedLM(config), tokenizer, name="random", origin=Origin(STAND_IN))


def fixed_mlm(answers: Callable[[Tensor], Tensor]) -> MaskedLM:
    """A masked LM whose logits (B, L, V) are what `answers` makes of the token ids (B, L)."""
    mlm = random_mlm(0)

    def logits(input_ids: Tensor, attention_mask: Tensor) -> Any:
        return type("Output", (), {"logits": answers(input_ids)})

    mlm.model.forward = logits  # type: ignore[method-assign, assignment]
    return mlm


class Plain:
    """BERT-Attack of one prompt, written down from the description of each variant: no batching over prompts, every
    text padded to the whole context, the masked LM asked one text at a time."""

    def __init__(self, clip: Clip, mlm: MaskedLM, attack: TextAttack) -> None:
        self.clip, self.bert, self.tokenizer, self.attack = clip, mlm.model, mlm.tokenizer, attack
        self.release = attack.compat == "release"
        self.limit = (
            30 if self.release else min(self.tokenizer.model_max_length, self.bert.config.max_position_embeddings)
        )

    @torch.no_grad()
    def __call__(self, prompt: str) -> str:
        scores, tokens = self.predictions(prompt)
        words = prompt.split(" ")
        spans, position = [], 0 if self.release else 1  # the release forgets [CLS]
        for word in words:
            length = len(self.tokenizer.tokenize(word))
            spans.append((position, position + length))
            position += length
        original = self.embed(prompt)
        importance = [self.kl(original, self.embed(with_word(words, i, "[UNK]"))) for i in range(len(words))]
        changed, changes = list(words), 0
        for i in sorted(range(len(words)), key=lambda i: importance[i], reverse=True):
            if changes == self.attack.max_words_changed:
                break
            same = words[i] if self.release else words[i].lower()
            if same in STOP_WORDS or spans[i][0] > self.limit - 2:
                continue
            best, greatest = None, self.kl(original, self.embed(" ".join(changed)))
            for candidate in self.candidates(scores, tokens, *spans[i]):
                compared = candidate if self.release else candidate.lower()
                if "##" in candidate or compared in STOP_WORDS or compared == same:
                    continue
                gain = self.kl(original, self.embed(with_word(changed, i, candidate)))
                if gain > greatest:
                    best, greatest = candidate, gain
            if best is not None:
                changed[i] = best
                changes += 1
        return " ".join(changed)

    def predictions(self, prompt: str) -> tuple[Tensor, Tensor]:
        padding = "max_length" if self.release else False
        inputs = self.tokenizer([prompt], padding=padding, truncation=True, max_length=self.limit, return_tensors="pt")
        logits = self.bert(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask).logits
        scores, tokens = torch.topk(logits[0], self.attack.max_candidates, dim=-1)
        return scores, tokens

    def candidates(self, scores: Tensor, tokens: Tensor, start: int, end: int) -> list[str]:
        if end == start:
            return []
        if end == start + 1:
            pairs = zip(scores[start].tolist(), tokens[start].tolist(), strict=True)
            return [self.tokenizer.convert_ids_to_tokens(t) for s, t in pairs if s >= self.attack.min_score]
        combinations = list(itertools.product(*tokens[start:end][:12, :4].tolist()))[:24]
        ranked = sorted(combinations, key=self.perplexity)
        return [" ".join(self.tokenizer.convert_ids_to_tokens(list(c))).replace(" ##", "").strip() for c in ranked]

    def perplexity(self, pieces: tuple[int, ...]) -> float:
        ids = torch.tensor([pieces])
        logits = self.bert(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        return float(F.cross_entropy(logits[0], ids[0]).exp())

    def embed(self, text: str) -> Tensor:
        """g of one text at full length. The release's CLIP reads what BERT's tokenizer makes of a text."""
        if self.release:
            ids = self.tokenizer(text, truncation=True, max_length=30).input_ids
            text = " ".join(self.tokenizer.convert_ids_to_tokens(ids)).replace(" ##", "")
            for before, after in CLEAN_UP:
                text = text.replace(before, after)
            text = text.replace("[CLS]", "").replace("[SEP]", "").strip()
        return self.clip.model.encode_text(self.clip.tokenizer([text]), normalize=True)[0]

    @staticmethod
    def kl(original: Tensor, other: Tensor) -> float:
        p, q = original.double().softmax(0), other.double().softmax(0)
        return float((p * (p / q).log()).sum())


CLEAN_UP = [(" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
            (" 's", "'s"), (" 've", "'ve"), (" 're", "'re")]  # fmt: skip


def with_word(words: Sequence[str], i: int, word: str) -> str:
    return " ".join([*words[:i], word, *words[i + 1 :]])


def attacked(clip: Clip, mlm: MaskedLM, names: Sequence[str], attack: TextAttack) -> list[str]:
    prompts = class_prompts(names, TEMPLATE)
    return attack_prompts(clip.embed_texts, prepare(prompts, names, mlm=mlm, attack=attack))


LONG = "cat dog bird horse deer truck maple tree sunflowers sunflowers sunflowers fires cats shipsing planes old new"
NAMES = [*CIFAR10, "maple tree", "t-shirt", "bird's nest", "jack-o'-lantern", "sunflowers", "zzyzx", LONG]


@pytest.mark.parametrize("changes", [1, 3])
@pytest.mark.parametrize("compat", ["none", "release"])
@pytest.mark.parametrize("seed", range(3))
def test_same_words_as_one_prompt_at_a_time(small_clips: dict[str, Clip], compat: str, changes: int, seed: int):
    """Random masked LMs over a vocabulary of stop words, class names and word-pieces: every rule is met often."""
    clip, mlm = small_clips["vit"], random_mlm(seed)
    attack = TextAttack(compat=compat, max_words_changed=changes, min_score=[0.3, 0.3, 2.0][seed % 3])
    plain = Plain(clip, mlm, attack)
    expected = [plain(prompt) for prompt in class_prompts(NAMES, TEMPLATE)]
    assert attacked(clip, mlm, NAMES, attack) == expected
    if seed == 0:
        assert sum(a != p for a, p in zip(expected, class_prompts(NAMES, TEMPLATE), strict=True)) > len(NAMES) / 2


@pytest.mark.parametrize("compat", ["none", "release"])
@pytest.mark.parametrize("names", [CIFAR10, TREES + AWKWARD], ids=["cifar10", "awkward"])
def test_same_words_on_the_stand_ins(stand_in: Clip, shared: Path, names: list[str], compat: str):
    mlm = load_masked_lm(shared / "models" / "bert-tiny-captions-mlm", name="bert-tiny")
    attack = TextAttack(compat=compat)
    plain = Plain(stand_in, mlm, attack)
    assert attacked(stand_in, mlm, names, attack) == [plain(p) for p in class_prompts(names, TEMPLATE)]


@pytest.mark.parametrize("stand_in", ["vit"], indirect=True)
def test_what_both_variants_write_on_cifar10(shared: Path, stand_in: Clip):
    """Aligned, the masked LM names what could stand in the class's place; the release takes what could stand behind it.

    The released code itself writes "room" where ours has "woman": their divergences, 1.75e-6 and 1.86e-6, differ by
    less than its single precision can tell (it sees 1.69e-6 and 1.62e-6).
    """
    mlm = load_masked_lm(shared / "models" / "bert-tiny-captions-mlm", name="bert-tiny")
    aligned = dict(zip(CIFAR10, attacked(stand_in, mlm, CIFAR10, TextAttack()), strict=True))
    assert aligned["cat"] == "This is a photo of a cats"
    assert aligned["dog"] == "This is a photo of a horse"
    release = dict(zip(CIFAR10, attacked(stand_in, mlm, CIFAR10, TextAttack(compat="release")), strict=True))
    assert release["cat"] == "woman is a photo of a cat"
    assert release["dog"] == "This is a large of a dog"


class Rule(NamedTuple):
    """What the masked LM predicts at "cat" of "This is a photo of a cat", and what of it may take its place."""

    why: str
    scores: dict[str, float]
    kept: list[str]
    min_score: float = 0.3
    max_candidates: int = 4


RULES = [
    Rule("best first", {"dog": 3.0, "horse": 4.0}, ["horse", "dog"]),
    Rule("0.3 is enough", {"dog": 0.3, "horse": 0.29}, ["dog"]),
    Rule("a score option", {"dog": 0.3, "horse": 0.29}, ["dog", "horse"], min_score=0.0),
    Rule("no word-pieces", {"##s": 9.0, "dog": 3.0}, ["dog"]),
    Rule("no stop words", {"the": 9.0, "some": 8.0, "-": 7.0, "dog": 3.0}, ["dog"]),
    Rule("not the word itself", {"cat": 9.0, "dog": 3.0}, ["dog"]),
    Rule("k of them", {"dog": 9.0, "horse": 8.0, "deer": 7.0}, ["dog", "horse"], max_candidates=2),
    Rule("k before the filters", {"##s": 9.0, "horse": 8.0, "deer": 7.0}, ["horse"], max_candidates=2),
    Rule("none", {"the": 9.0}, []),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.why.replace(" ", "-"))
def test_rules_for_candidates(rule: Rule):
    vocabulary = wordpiece_tokenizer().get_vocab()

    def answers(ids: Tensor) -> Tensor:
        logits = torch.full((*ids.shape, len(vocabulary)), -10.0)
        for word, score in rule.scores.items():
            logits[:, 7, vocabulary[word]] = score  # [CLS] this is a photo of a cat [SEP]
        return logits

    names = ["cat", "dog", "fire truck"]
    attack = TextAttack(min_score=rule.min_score, max_candidates=rule.max_candidates)
    target = prepare(class_prompts(names, TEMPLATE), names, mlm=fixed_mlm(answers), attack=attack)
    assert target.candidates[0] == [[], [], [], [], [], [], rule.kept]


@pytest.mark.parametrize("compat,word", [("none", 6), ("release", 7)])
def test_where_the_candidates_are_read(compat: str, word: int):
    """ "dog" predicted at position 7, that of "cat" behind [CLS]: the release gives it to the word after."""
    vocabulary = wordpiece_tokenizer().get_vocab()

    def answers(ids: Tensor) -> Tensor:
        logits = torch.full((*ids.shape, len(vocabulary)), -10.0)
        logits[:, 7, vocabulary["dog"]] = 5.0
        return logits

    prompt = "This is a photo of a cat house"
    target = prepare([prompt], ["cat house"], mlm=fixed_mlm(answers), attack=TextAttack(compat=compat))
    assert [i for i, words in enumerate(target.candidates[0]) if words] == [word]


@pytest.mark.parametrize("compat,attacked_words", [("none", ["photo", "cat"]), ("release", ["This", "photo", "cat"])])
def test_stop_words_are_compared_in_lower_case_unless_as_the_release(compat: str, attacked_words: list[str]):
    vocabulary = wordpiece_tokenizer().get_vocab()

    def answers(ids: Tensor) -> Tensor:
        logits = torch.full((*ids.shape, len(vocabulary)), -10.0)
        logits[:, :, vocabulary["horse"]] = 5.0
        return logits

    prompt = "This is a photo of a cat"
    target = prepare([prompt], ["cat"], mlm=fixed_mlm(answers), attack=TextAttack(compat=compat))
    words = [word for word, found in zip(prompt.split(" "), target.candidates[0], strict=True) if found]
    assert words == attacked_words


def test_the_stop_words_are_those_of_the_release():
    listed = "\n".join(sorted(STOP_WORDS))
    assert len(STOP_WORDS) == 292
    assert hashlib.sha256(listed.encode()).hexdigest().startswith("89fcd35bffd8fdcd89693ce8b840597e")


def test_a_word_of_several_pieces_takes_combinations_by_perplexity():
    """ "sunflowers" = sun ##flower ##s: 4 x 4 x 4 combinations, the first 24 of them, the least perplexing first."""
    mlm = random_mlm(3)
    assert mlm.tokenizer.tokenize("sunflowers") == ["sun", "##flower", "##s"]
    prompt = "This is a photo of a sunflowers"
    (prediction,) = mlm.predict([prompt], max_tokens=None, k=10)
    words = prediction.words(7, 10, min_score=0.3)
    assert len(words) == 24
    plain = Plain(None, mlm, TextAttack())  # type: ignore[arg-type]
    with torch.no_grad():
        assert words == plain.candidates(*plain.predictions(prompt), 7, 10)


def test_words_beyond_the_masked_lm_are_left_alone():
    mlm = random_mlm(0)
    (prediction,) = mlm.predict(["cat " * 100], max_tokens=30, k=10)
    assert len(prediction.tokens) == 30
    assert prediction.words(28, 29, min_score=-99.0) != []
    assert prediction.words(29, 30, min_score=-99.0) == []  # [SEP]
    assert prediction.words(90, 91, min_score=-99.0) == []


def test_without_candidates_a_prompt_stays(small_clips: dict[str, Clip]):
    mlm = fixed_mlm(lambda ids: torch.full((*ids.shape, len(wordpiece_tokenizer())), -10.0))
    names = ["cat", "dog", "maple tree"]
    assert attacked(small_clips["vit"], mlm, names, TextAttack()) == class_prompts(names, TEMPLATE)


@pytest.mark.parametrize("changes", [1, 2])
def test_no_more_words_change_than_allowed(small_clips: dict[str, Clip], changes: int):
    clip, prompts = small_clips["vit"], class_prompts(NAMES, TEMPLATE)
    for seed in range(4):
        for compat in ("none", "release"):
            attack = TextAttack(max_words_changed=changes, compat=compat)
            target = prepare(prompts, NAMES, mlm=random_mlm(seed), attack=attack)
            for k, adv in enumerate(attack_prompts(clip.embed_texts, target)):
                assert adv in within(prompts[k], target.candidates[k], changes)


def within(prompt: str, candidates: list[list[str]], changes: int) -> set[str]:
    """All prompts that the candidates can make of this one with up to `changes` words."""
    words = prompt.split(" ")
    found = {tuple(words)}
    for _ in range(changes):
        found |= {
            (*text[:i], word, *text[i + 1 :]) for text in found for i, some in enumerate(candidates) for word in some
        }
    return {" ".join(text) for text in found}


def test_the_attack_is_that_of_each_prompt_alone(small_clips: dict[str, Clip]):
    clip, mlm = small_clips["vit"], random_mlm(1)
    together = attacked(clip, mlm, NAMES, TextAttack())
    assert [attacked(clip, mlm, [name], TextAttack())[0] for name in NAMES] == together


def test_the_greatest_divergence_wins():
    """g made by hand: one number a word, so the winner is known."""
    weight = {"photo": 0.1, "cat": 0.2, "dog": 0.5, "horse": 0.9, "truck": 0.3, "[UNK]": 1.0}

    def encode(texts: list[str]) -> Tensor:
        total = torch.tensor([sum(weight.get(word, 0.0) for word in text.split()) for text in texts])
        return torch.stack([total, torch.zeros_like(total), -total], dim=1)

    vocabulary = wordpiece_tokenizer().get_vocab()

    def answers(ids: Tensor) -> Tensor:
        logits = torch.full((*ids.shape, len(vocabulary)), -10.0)
        for word in ("dog", "horse", "truck"):
            logits[:, 4:, vocabulary[word]] = 5.0
        return logits

    prompts = ["This is a photo of a cat"]
    target = prepare(prompts, ["cat"], mlm=fixed_mlm(answers), attack=TextAttack())
    importance = word_importance(encode, target, encode(prompts))
    # "This", "is", "a" weigh 0 and become 1; "photo" moves by 0.9 and "cat" by 0.8
    assert importance == [[0, 1, 2, 4, 5, 3, 6]]
    assert attack_prompts(encode, target) == ["This is a horse of a cat"]
    both = attack_prompts(encode, replace(target, attack=TextAttack(max_words_changed=2)))
    assert both == ["This is a horse of a horse"]


def test_a_second_word_must_take_it_further():
    """The best second word would undo part of the first one's divergence: the prompt stays as it is then."""
    weight = {"photo": 0.0, "cat": 0.0, "dog": 1.0, "horse": -0.2, "[UNK]": 2.0}

    def encode(texts: list[str]) -> Tensor:
        total = torch.tensor([sum(weight.get(word, 0.0) for word in text.split()) for text in texts])
        return torch.stack([total, torch.zeros_like(total), -total], dim=1)

    vocabulary = wordpiece_tokenizer().get_vocab()

    def answers(ids: Tensor) -> Tensor:
        logits = torch.full((*ids.shape, len(vocabulary)), -10.0)
        logits[:, 4, vocabulary["dog"]] = 5.0
        logits[:, 7, vocabulary["horse"]] = 5.0
        return logits

    prompts = ["This is a photo of a cat"]
    target = prepare(prompts, ["cat"], mlm=fixed_mlm(answers), attack=TextAttack(max_words_changed=2))
    assert attack_prompts(encode, target) == ["This is a dog of a cat"]


def test_divergence_by_hand():
    """softmax(ln 1, ln 3) = (1/4, 3/4), softmax(ln 1, ln 1) = (1/2, 1/2):
    KL = 1/4 ln(1/2) + 3/4 ln(3/2) = 0.13081203594"""
    p, q = torch.tensor([1.0, 3.0]).log(), torch.tensor([1.0, 1.0]).log()
    assert float(divergence(p, q)) == pytest.approx(0.13081203594, abs=1e-7)
    assert float(divergence(q, p)) == pytest.approx(0.5 * 0.6931471806 + 0.5 * -0.4054651081, abs=1e-7)
    assert float(divergence(p, p)) == 0


class Collision(NamedTuple):
    names: list[str]
    adversarial: list[str]
    count: int


COLLISIONS = [
    Collision(["bird", "dog"], ["This is a photo of a dog", "This is a photo of a puppy"], 1),
    Collision(["bird", "dog"], ["This is a photo of a bird", "This is a photo of a dog"], 0),
    Collision(["bird", "dog"], ["This is a dog of a bird", "This is a bird of a dog"], 2),
    Collision(["Bird", "DOG"], ["This is a photo of a Dog", "This is a photo of a dog"], 1),
    Collision(["maple_tree", "oak_tree"], ["This is a photo of a oak tree", "This is a photo of a big tree"], 1),
    Collision(["fire-truck", "dog"], ["This is a photo of a fire dog", "This is a photo of a fire truck"], 2),
    Collision(["crane", "crane"], ["This is a photo of a crane", "This is a photo of a crane"], 0),
    Collision(["sea lion", "lion"], ["This is a photo of a mountain lion", "This is a photo of a cat"], 0),
]


@pytest.mark.parametrize("case", COLLISIONS, ids=lambda case: case.adversarial[0].replace(" ", "-"))
def test_collisions_are_counted(case: Collision):
    assert collisions(case.adversarial, class_prompts(case.names, TEMPLATE), case.names) == case.count


@pytest.mark.parametrize("changes", [1, 2])
@pytest.mark.parametrize("compat", ["none", "release"])
def test_no_collisions_leaves_none(small_clips: dict[str, Clip], compat: str, changes: int):
    """Also where the new word is only a part of another class's name: maple tree -> oak tree."""
    names = ["maple tree", "oak tree", "palm tree", "fire truck", "bird house", *CIFAR10[2:], "sun", "nest", "shirt"]
    prompts, seen = class_prompts(names, TEMPLATE), 0
    attack = TextAttack(compat=compat, max_words_changed=changes)
    for seed in range(8):
        mlm = random_mlm(seed)
        allowed, forbidden = (
            attacked(small_clips["vit"], mlm, names, replace(attack, no_collisions=none)) for none in (False, True)
        )
        seen += collisions(allowed, prompts, names)
        assert collisions(forbidden, prompts, names) == 0
    assert seen > 0, "nothing collided in the first place: the test would show nothing"


def test_the_release_encodes_what_berts_tokenizer_gives_back():
    """Lower case, hyphens apart, apostrophes closed up again, at most 30 word-pieces."""
    encoded = random_mlm(0).round_trip(30)
    assert encoded("This is a photo of a t-shirt") == "this is a photo of a t - shirt"
    assert encoded("This is a bird's nest") == "this is a bird's nest"
    assert encoded("This is a [UNK] of a cat") == "this is a [UNK] of a cat"
    assert encoded("cat " * 50) == " ".join(["cat"] * 28)


def test_an_unknown_compat_is_refused():
    with pytest.raises(UserError):
        TextAttack(compat="both")


@pytest.mark.parametrize("damage", ["empty", "no weights", "cut weights", "other weights", "no tokenizer", "no json"])
def test_a_damaged_folder_is_one_line(tmp_path: Path, damage: str):
    mlm = random_mlm(0)
    mlm.model.save_pretrained(tmp_path)
    mlm.tokenizer.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    if damage == "empty":
        for path in tmp_path.iterdir():
            path.unlink()
    elif damage == "no weights":
        weights.unlink()
    elif damage == "cut weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "other weights":
        weights.write_bytes(b"no safetensors at all, but long enough to be read as a header")
    elif damage == "no tokenizer":
        (tmp_path / "tokenizer.json").write_text("{}", encoding="utf8")
    elif damage == "no json":
        (tmp_path / "config.json").write_text("{", encoding="utf8")
    with pytest.raises(UserError) as caught:
        load_masked_lm(tmp_path, name="broken")
    assert "\n" not in str(caught.value)


def test_a_saved_masked_lm_predicts_the_same(tmp_path: Path):
    mlm = random_mlm(0)
    mlm.model.save_pretrained(tmp_path)
    mlm.tokenizer.save_pretrained(tmp_path)
    loaded = load_masked_lm(tmp_path, name="random")
    assert loaded.digest() == mlm.digest()
    assert loaded.origin.kind == OWN
    first, second = (m.predict(class_prompts(NAMES, TEMPLATE), max_tokens=None, k=10) for m in (mlm, loaded))
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(first, second, strict=True))
    with torch.no_grad():
        next(loaded.model.parameters()).view(-1)[0] += 1
    assert loaded.digest() != mlm.digest()


def test_a_folder_from_elsewhere_runs_no_code(tmp_path: Path):
    mlm = random_mlm(0)
    mlm.model.save_pretrained(tmp_path)
    mlm.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "evil.py").write_text(
        f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n"
        "from transformers import BertForMaskedLM as Model, BertConfig as Config, PreTrainedTokenizerFast as Tokens\n",
        encoding="utf8",
    )
    for name, classes in {
        "config.json": {"AutoConfig": "evil.Config", "AutoModelForMaskedLM": "evil.Model"},
        "tokenizer_config.json": {"AutoTokenizer": ["evil.Tokens", "evil.Tokens"]},
    }.items():
        document = json.loads((tmp_path / name).read_text(encoding="utf8"))
        (tmp_path / name).write_text(json.dumps({**document, "auto_map": classes}), encoding="utf8")
    with contextlib.suppress(UserError):
        load_masked_lm(tmp_path, name="evil")
    assert not (tmp_path / "ran").exists()
