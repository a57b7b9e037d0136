"""BERT-Attack, both variants, against plain computations that take one prompt at a time and batch or cut nothing."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from mmcoa_cli.attacks.bert_attack import TextTarget, attack_prompts, collisions, divergence, prepare, word_importance
from mmcoa_cli.attacks.settings import BertAttackSettings
from mmcoa_cli.attacks.words import STOP_WORDS, bare, parted, replaced
from mmcoa_cli.datasets.prompts import class_prompts
from mmcoa_cli.models.clip import Clip
from mmcoa_cli.models.masked_lm import MaskedLM, load_masked_lm
from mmcoa_cli.models.origins import OWN, STAND_IN, Origin
from mmcoa_cli.models.token_rows import are_cut, cut_by
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

    def __init__(self, clip: Clip, mlm: MaskedLM, attack: BertAttackSettings, *, cuts: bool = False) -> None:
        self.cuts = cuts
        self.clip, self.bert, self.tokenizer, self.attack = clip, mlm.model, mlm.tokenizer, attack
        every = ("positions", "case", "words", "single")
        done = every if attack.compat == "release" else attack.compat.split(",")
        self.positions, self.case, self.release, self.single = (part in done for part in every)
        self.limit = (
            30 if self.release else min(self.tokenizer.model_max_length, self.bert.config.max_position_embeddings)
        )

    @torch.no_grad()
    def __call__(self, prompt: str) -> str:
        scores, tokens = self.predictions(prompt)
        words = prompt.split(" ")
        sides = [("", "") if self.release else attached(word) for word in words]
        cores = [word[len(a) : len(word) - len(b)] for word, (a, b) in zip(words, sides, strict=True)]
        spans = self.release_spans(words) if self.release else self.spans(prompt, cores, sides)
        spans = [(start - self.positions, end - self.positions) if end > start else (0, 0) for start, end in spans]
        original = self.embed(prompt)
        masked = [with_word(words, i, a + "[UNK]" + b) for i, (a, b) in enumerate(sides)]
        importance = [self.kl(original, self.embed(text)) for text in masked]
        changed, changes = list(words), 0
        for i in sorted(range(len(words)), key=lambda i: importance[i], reverse=True):
            if changes == self.attack.max_words_changed:
                break
            same = cores[i] if self.case else cores[i].lower()
            if not same or same in STOP_WORDS or spans[i][0] > self.limit - 2:
                continue
            best, greatest = None, self.kl(original, self.embed(" ".join(changed)))
            for candidate in self.candidates(scores, tokens, *spans[i]):
                compared = candidate if self.case else candidate.lower()
                if "##" in candidate or compared in STOP_WORDS or compared == same:
                    continue
                if not self.release and attached(candidate) != ("", ""):
                    continue  # "'", "[UNK]"
                new = sides[i][0] + candidate + sides[i][1]
                text = with_word(changed, i, new)
                if not self.release and self.cuts and len(self.clip.tokenizer.encode(text)) + 2 > 16:
                    continue
                gain = self.kl(original, self.embed(text))
                if gain > greatest:
                    best, greatest = new, gain
            if best is not None:
                changed[i] = best
                changes += 1
        return " ".join(changed)

    def release_spans(self, words: list[str]) -> list[tuple[int, int]]:
        """The release counts the word-pieces of each word (and forgets [CLS], which is another of its parts)."""
        spans, position = [], 1
        for word in words:
            length = len(self.tokenizer.tokenize(word))
            spans.append((position, position + length))
            position += length
        return spans

    def spans(self, prompt: str, cores: list[str], sides: list[tuple[str, str]]) -> list[tuple[int, int]]:
        """The tokens that lie over the characters of each word, as the tokenizer itself says where they come from."""
        encoded = self.tokenizer(prompt, return_offsets_mapping=True)
        spans, start = [], 0
        for core, (before, behind) in zip(cores, sides, strict=True):
            start += len(before)
            own = [i for i, (a, b) in enumerate(encoded.offset_mapping) if start <= a < b <= start + len(core)]
            spans.append((own[0], own[-1] + 1) if own else (0, 0))
            start += len(core) + len(behind) + 1
        return spans

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
        combinations = list(itertools.product(*tokens[start:end][:12, :4].tolist()))
        if not self.release:
            combinations = [c for c in combinations if " " not in self.joined(c) and "##" not in self.joined(c)]
        return [self.joined(c) for c in sorted(combinations[:24], key=self.perplexity)]

    def joined(self, pieces: tuple[int, ...]) -> str:
        return " ".join(self.tokenizer.convert_ids_to_tokens(list(pieces))).replace(" ##", "").strip()

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

    def kl(self, original: Tensor, other: Tensor) -> float:
        if self.single:  # its very calls, in single precision
            loss = torch.nn.KLDivLoss(reduction="none")(other.log_softmax(dim=-1), original.softmax(dim=-1))
            return float(loss.sum(dim=-1))
        return self.exact(original, other)

    def exact(self, original: Tensor, other: Tensor) -> float:
        p, q = original.double().softmax(0), other.double().softmax(0)
        return float((p * (p / q).log()).sum())

    @torch.no_grad()
    def cannot_tell(self, prompt: str, one: str, other: str) -> bool:
        """Whether single precision sees two texts as equally far from their prompt: then rounding, which is another
        CPU's other, chooses."""
        first, second = (self.exact(self.embed(prompt), self.embed(text)) for text in (one, other))
        return self.single and abs(first - second) < 2e-7


CLEAN_UP = [(" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
            (" 's", "'s"), (" 've", "'ve"), (" 're", "'re")]  # fmt: skip


def attached(word: str) -> tuple[str, str]:
    """What stands before and behind a word: on both sides all that is no letter and no digit."""
    found = re.fullmatch(r"([^\w]|_)*?(?P<core>[^\W_].*[^\W_]|[^\W_])?(?P<behind>([^\w]|_)*)", word)
    assert found
    if found["core"] is None:
        return word, ""
    return word[: found.start("core")], found["behind"]


def with_word(words: Sequence[str], i: int, word: str) -> str:
    return " ".join([*words[:i], word, *words[i + 1 :]])


def attacked(
    clip: Clip, mlm: MaskedLM, names: Sequence[str], attack: BertAttackSettings, *, template: str = TEMPLATE
) -> list[str]:
    prompts = class_prompts(names, template)
    return attack_prompts(clip.embed_texts, prepare(prompts, names, mlm=mlm, settings=attack))


LONG = "cat dog bird horse deer truck maple tree sunflowers sunflowers sunflowers fires cats shipsing planes old new"
NAMES = [*CIFAR10, "maple tree", "t-shirt", "bird's nest", "jack-o'-lantern", "sunflowers", "zzyzx", LONG]


@pytest.mark.parametrize("compat", ["none", "release", "positions", "case", "words", "single"])
@pytest.mark.parametrize(("seed", "changes"), [(0, 1), (1, 3), (2, 3)])
def test_same_words_as_one_prompt_at_a_time(small_clips: dict[str, Clip], compat: str, changes: int, seed: int):
    """Random masked LMs over a vocabulary of stop words, class names and word-pieces: every rule is met often."""
    clip, mlm = small_clips["vit"], random_mlm(seed)
    attack = BertAttackSettings(compat=compat, max_words_changed=changes, min_score=[0.3, 0.3, 2.0][seed % 3])
    plain = Plain(clip, mlm, attack)
    expected = [plain(prompt) for prompt in class_prompts(NAMES, TEMPLATE)]
    assert attacked(clip, mlm, NAMES, attack) == expected
    if seed == 0:
        assert sum(a != p for a, p in zip(expected, class_prompts(NAMES, TEMPLATE), strict=True)) > len(NAMES) / 2


@pytest.mark.parametrize("compat", ["none", "release"])
@pytest.mark.parametrize("names", [CIFAR10, TREES + AWKWARD], ids=["cifar10", "awkward"])
def test_same_words_on_the_stand_ins(stand_in: Clip, shared: Path, names: list[str], compat: str):
    mlm = load_masked_lm(shared / "models" / "bert-tiny-captions-mlm", name="bert-tiny")
    attack = BertAttackSettings(compat=compat)
    plain, prompts = Plain(stand_in, mlm, attack), class_prompts(names, TEMPLATE)
    found, expected = attacked(stand_in, mlm, names, attack), list(map(plain, prompts))
    differ = [three for three in zip(prompts, found, expected, strict=True) if three[1] != three[2]]
    assert len(differ) <= 1 and all(plain.cannot_tell(*three) for three in differ)


@pytest.mark.parametrize("stand_in", ["vit"], indirect=True)
def test_what_both_variants_write_on_cifar10(shared: Path, stand_in: Clip):
    """Aligned, the masked LM names what could stand in the class's place; the release takes what could stand behind it.

    The released code writes "room" for the cat, though "woman" would go further: their divergences, 1.75e-6 and
    1.86e-6, differ by less than its single precision can tell (it sees 1.69e-6 and 1.67e-6).
    """
    mlm = load_masked_lm(shared / "models" / "bert-tiny-captions-mlm", name="bert-tiny")
    aligned = dict(zip(CIFAR10, attacked(stand_in, mlm, CIFAR10, BertAttackSettings()), strict=True))
    assert aligned["cat"] == "This is a photo of a cats"
    assert aligned["dog"] == "This is a photo of a horse"
    release = dict(zip(CIFAR10, attacked(stand_in, mlm, CIFAR10, BertAttackSettings(compat="release")), strict=True))
    assert release["cat"] == "room is a photo of a cat"
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
    Rule("no signs", {"'": 9.0, "[UNK]": 8.0, "[SEP]": 7.0, "dog": 3.0}, ["dog"]),
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
    attack = BertAttackSettings(min_score=rule.min_score, max_candidates=rule.max_candidates)
    target = prepare(class_prompts(names, TEMPLATE), names, mlm=fixed_mlm(answers), settings=attack)
    assert target.candidates[0] == [[], [], [], [], [], [], rule.kept]


@pytest.mark.parametrize("compat,word", [("none", 6), ("positions", 7), ("case,words,single", 6), ("release", 7)])
def test_where_the_candidates_are_read(compat: str, word: int):
    """ "dog" predicted at position 7, that of "cat" behind [CLS]: the release gives it to the word after."""
    vocabulary = wordpiece_tokenizer().get_vocab()

    def answers(ids: Tensor) -> Tensor:
        logits = torch.full((*ids.shape, len(vocabulary)), -10.0)
        logits[:, 7, vocabulary["dog"]] = 5.0
        return logits

    prompt = "This is a photo of a cat house"
    target = prepare([prompt], ["cat house"], mlm=fixed_mlm(answers), settings=BertAttackSettings(compat=compat))
    assert [i for i, words in enumerate(target.candidates[0]) if words] == [word]


@pytest.mark.parametrize(
    "compat,attacked_words",
    [
        ("none", ["photo", "cat"]),
        ("case", ["This", "photo", "cat"]),
        ("positions,words,single", ["photo", "cat"]),
        ("release", ["This", "photo", "cat"]),
    ],
)
def test_stop_words_are_compared_in_lower_case_unless_as_the_release(compat: str, attacked_words: list[str]):
    vocabulary = wordpiece_tokenizer().get_vocab()

    def answers(ids: Tensor) -> Tensor:
        logits = torch.full((*ids.shape, len(vocabulary)), -10.0)
        logits[:, :, vocabulary["horse"]] = 5.0
        return logits

    prompt = "This is a photo of a cat"
    target = prepare([prompt], ["cat"], mlm=fixed_mlm(answers), settings=BertAttackSettings(compat=compat))
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
    plain = Plain(None, mlm, BertAttackSettings(compat="release"))  # type: ignore[arg-type]
    with torch.no_grad():
        assert words == plain.candidates(*plain.predictions(prompt), 7, 10)


def talkative_mlm(prompts: Sequence[str], attack: BertAttackSettings) -> tuple[MaskedLM, TextTarget]:
    """A random one that has several candidates for the last word of each prompt."""
    mlms = map(random_mlm, range(100))
    targets = ((mlm, prepare(prompts, [], mlm=mlm, settings=attack)) for mlm in mlms)
    return next((mlm, found) for mlm, found in targets if all(len(words[-1]) > 3 for words in found.candidates))


@pytest.mark.parametrize("compat", ["none", "release"])
def test_of_candidates_that_go_equally_far_the_masked_lms_first_is_taken(compat: str):
    """A CLIP to which every other text is the same: of "sunflowers", of three pieces, the least perplexing candidate is
    taken, and of "cat" the one of the highest score."""
    attack, prompts = BertAttackSettings(compat=compat, min_score=-99.0), ["is cat", "is sunflowers"]

    def encode(texts: list[str]) -> Tensor:
        return torch.tensor([[1.0, 0.0] if text in prompts else [0.0, 1.0] for text in texts])

    mlm, target = talkative_mlm(prompts, attack)
    plain, start = Plain(None, mlm, attack), 1 if compat == "release" else 2  # type: ignore[arg-type]
    expected = []
    for prompt, end, (_, kept) in zip(prompts, (start + 1, start + 3), target.candidates, strict=True):
        with torch.no_grad():
            ranked = plain.candidates(*plain.predictions(prompt), start, end)
        first = next(word for word in ranked if word in kept)
        assert prompt == prompts[0] or first != kept[0]
        expected.append(f"is {first}")
    assert attack_prompts(encode, target) == expected


def test_no_perplexity_is_asked_for_where_nothing_is_equal(small_clips: dict[str, Clip]):
    prompts, read = ["is cat", "is sunflowers"], []
    mlm, target = talkative_mlm(prompts, BertAttackSettings(min_score=-99.0))
    mlm.model.register_forward_pre_hook(lambda _, __, given: read.append(len(given["input_ids"])), with_kwargs=True)
    assert attack_prompts(small_clips["vit"].embed_texts, target) != prompts
    assert prepare(prompts, [], mlm=mlm, settings=target.settings).candidates == target.candidates
    assert read == [1, 1]  # of two lengths


def test_a_word_that_changes_nothing_for_the_model_is_not_taken(small_clips: dict[str, Clip]):
    """Behind the 16 tokens that it reads, every candidate leaves the same tokens: no rounding may tell them apart."""
    prompts = [" ".join(["cat"] * 16 + ["dog"] * (k % 3)) for k in range(1, 40)]
    candidates = [[[] for _ in text.split(" ")[:-1]] + [["horse", "deer", "bird"]] for text in prompts]
    target = TextTarget(prompts, candidates, BertAttackSettings(max_words_changed=2), str, frozenset())
    assert attack_prompts(small_clips["vit"].embed_texts, target) == prompts


def test_a_word_of_several_pieces_becomes_one_word():
    """Of 4 x 4 x 4 combinations those that one word is made of: a beginning and two ends, here 2 x 2 x 3 of them."""
    vocabulary = wordpiece_tokenizer().get_vocab()
    best = {7: ["cat", "##s", "dog", "##es"], 8: ["cat", "##s", "##ing", "dog"], 9: ["##s", "##ed", "##ter", "dog"]}

    def answers(ids: Tensor) -> Tensor:
        logits = torch.full((*ids.shape, len(vocabulary)), -10.0)
        for position, pieces in best.items():
            if position < ids.shape[1]:
                logits[:, position, [vocabulary[piece] for piece in pieces]] = torch.tensor([9.0, 8, 7, 6])
        return logits

    (prediction,) = fixed_mlm(answers).predict(["This is a photo of a sunflowers"], max_tokens=None, k=10)
    ends = [first + second for first in ("s", "ing") for second in ("s", "ed", "ter")]
    words = prediction.words(7, 10, min_score=0.3, one_word=True)
    assert sorted(words) == sorted(word + end for word in ("cat", "dog") for end in ends)
    assert len(prediction.words(7, 10, min_score=0.3)) == 24
    best[9] = ["dog", "cat", "horse", "bird"]  # no end: nothing that is one word
    (prediction,) = fixed_mlm(answers).predict(["This is a photo of a sunflowers"], max_tokens=None, k=10)
    assert prediction.words(7, 10, min_score=0.3, one_word=True) == []


class Word(NamedTuple):
    text: str
    before: str
    core: str
    behind: str


WORDS = [
    Word("cat", "", "cat", ""), Word("cat.", "", "cat", "."), Word("cat,", "", "cat", ","),
    Word("cat!?", "", "cat", "!?"), Word("(cat)", "(", "cat", ")"), Word('"cat".', '"', "cat", '".'),
    Word("\u201ccat\u201d", "\u201c", "cat", "\u201d"), Word("don't", "", "don't", ""),
    Word("john's", "", "john's", ""), Word("dogs'", "", "dogs", "'"), Word("st.", "", "st", "."),
    Word("t-shirt", "", "t-shirt", ""), Word("u.s.a.", "", "u.s.a", "."), Word("at&t", "", "at&t", ""),
    Word("c++", "", "c", "++"), Word("$5", "$", "5", ""), Word("...", "...", "", ""), Word("-", "-", "", ""),
    Word("", "", "", ""), Word("\u00bfqu\u00e9?", "\u00bf", "qu\u00e9", "?"),
    Word("\u732b\u3002", "", "\u732b", "\u3002"), Word("[mask]", "[", "mask", "]"), Word("_x_", "_", "x", "_"),
    Word("\U0001f431", "", "\U0001f431", ""),
]  # fmt: skip


@pytest.mark.parametrize("word", WORDS, ids=lambda word: ascii(word.text))
def test_punctuation_at_a_word_is_set_aside(word: Word):
    assert parted(word.text) == word[1:]
    assert parted(word.text, whole=True) == ("", word.text, "")
    if word.core:
        assert replaced(word.text, "X") == word.before + "X" + word.behind
        assert bare(word.text) == word.core


TEMPLATES = ["a photo of a {}.", "a photo of a {}, a bird", 'this is "{}"!', "({}) in the garden", "the house: {}...",
             "not a {}; a ship", "an old {}'s picture.", "'{}'", "a photo of a {} ."]  # fmt: skip
PUNCTUATED = ["cat", "dog", "maple tree", "st. john's", "don't", "t-shirt", "sunflowers", "airplane", "jack-o'-lantern"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_same_beside_punctuation_and_at_most_one_word_changes(small_clips: dict[str, Clip], template: str):
    clip, prompts, changed = small_clips["vit"], class_prompts(PUNCTUATED, template), 0
    for seed in range(3):
        mlm, attack = random_mlm(seed), BertAttackSettings()
        found = attacked(clip, mlm, PUNCTUATED, attack, template=template)
        plain = Plain(clip, mlm, attack)
        assert found == [plain(prompt) for prompt in prompts]
        for prompt, adv in zip(prompts, found, strict=True):
            pairs = list(zip(prompt.split(" "), adv.split(" "), strict=True))
            other = [(old, new) for old, new in pairs if old != new]
            assert len(other) <= 1
            for old, new in other:
                assert attached(old) == attached(new)
            changed += len(other)
    assert changed > len(prompts)


@pytest.mark.parametrize("changes", [1, 2])
def test_a_candidate_whose_prompt_is_cut_is_not_used(small_clips: dict[str, Clip], changes: int):
    """The masked LM has "sun" and "fire" for every word, and for "airplane" also "sunter", which is two tokens."""
    vocabulary = wordpiece_tokenizer().get_vocab()

    def answers(ids: Tensor) -> Tensor:
        logits = torch.full((*ids.shape, len(vocabulary)), -10.0)
        logits[:, :, [vocabulary[piece] for piece in ("sun", "fire", "##ter", "##s")]] = torch.tensor([9.0, 8, 7, 6])
        return logits

    clip, mlm, attack = small_clips["vit"], fixed_mlm(answers), BertAttackSettings(max_words_changed=changes)
    names = [*CIFAR10[2:], "tree", "nest"]
    prompts = class_prompts(names, "a very old airplane photo of the automobile in a garden by the {}")
    assert {len(row) for row in clip.token_rows(prompts)} == {16}  # the whole context
    target = prepare(prompts, names, mlm=mlm, settings=attack)
    reachable = [text for k, prompt in enumerate(prompts) for text in within(prompt, target.candidates[k], 1)]
    assert any(are_cut(clip, reachable)), "all fit in the first place: the test would show nothing"
    fitting = attack_prompts(clip.embed_texts, prepare(prompts, names, mlm=mlm, settings=attack, is_cut=cut_by(clip)))
    assert not any(are_cut(clip, fitting))
    plain = Plain(clip, mlm, attack, cuts=True)
    assert fitting == [plain(prompt) for prompt in prompts]


def test_words_beyond_the_masked_lm_are_left_alone():
    mlm = random_mlm(0)
    (prediction,) = mlm.predict(["cat " * 100], max_tokens=30, k=10)
    assert len(prediction.tokens) == 30
    assert prediction.words(28, 29, min_score=-99.0) != []
    assert prediction.words(29, 30, min_score=-99.0) == []  # [SEP]
    assert prediction.words(90, 91, min_score=-99.0) == []


def test_a_prompt_beyond_the_masked_lm_is_refused_except_as_the_release():
    mlm, names = random_mlm(0), ["cat", "dog"]
    fits, long = (class_prompts(names, "photo " * n + "{}") for n in (45, 46))  # of 48, with [CLS] and [SEP]
    assert prepare(fits, names, mlm=mlm, settings=BertAttackSettings()).candidates[0][-1]
    with pytest.raises(UserError, match="48 tokens"):
        prepare(long, names, mlm=mlm, settings=BertAttackSettings())
    assert not prepare(long, names, mlm=mlm, settings=BertAttackSettings(compat="release")).candidates[0][-1]


def test_without_candidates_a_prompt_stays(small_clips: dict[str, Clip]):
    mlm = fixed_mlm(lambda ids: torch.full((*ids.shape, len(wordpiece_tokenizer())), -10.0))
    names = ["cat", "dog", "maple tree"]
    assert attacked(small_clips["vit"], mlm, names, BertAttackSettings()) == class_prompts(names, TEMPLATE)


@pytest.mark.parametrize("changes", [1, 2])
def test_no_more_words_change_than_allowed(small_clips: dict[str, Clip], changes: int):
    clip, prompts = small_clips["vit"], class_prompts(NAMES, TEMPLATE)
    for seed in range(4):
        for compat in ("none", "release"):
            attack = BertAttackSettings(max_words_changed=changes, compat=compat)
            target = prepare(prompts, NAMES, mlm=random_mlm(seed), settings=attack)
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
    together = attacked(clip, mlm, NAMES, BertAttackSettings())
    assert [attacked(clip, mlm, [name], BertAttackSettings())[0] for name in NAMES] == together


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
    target = prepare(prompts, ["cat"], mlm=fixed_mlm(answers), settings=BertAttackSettings())
    originals, importance = word_importance(encode, target)
    assert torch.equal(originals, encode(prompts))
    assert importance == [[3, 6]]  # "photo" moves by 0.9 and "cat" by 0.8; the others have no candidates
    assert attack_prompts(encode, target) == ["This is a horse of a cat"]
    both = attack_prompts(encode, replace(target, settings=BertAttackSettings(max_words_changed=2)))
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
    target = prepare(prompts, ["cat"], mlm=fixed_mlm(answers), settings=BertAttackSettings(max_words_changed=2))
    assert attack_prompts(encode, target) == ["This is a dog of a cat"]


def test_divergence_by_hand():
    """softmax(ln 1, ln 3) = (1/4, 3/4), softmax(ln 1, ln 1) = (1/2, 1/2):
    KL = 1/4 ln(1/2) + 3/4 ln(3/2) = 0.13081203594"""
    p, q = torch.tensor([1.0, 3.0]).log(), torch.tensor([1.0, 1.0]).log()
    assert float(divergence(p, q)) == pytest.approx(0.13081203594, abs=1e-7)
    assert float(divergence(q, p)) == pytest.approx(0.5 * 0.6931471806 + 0.5 * -0.4054651081, abs=1e-7)
    assert float(divergence(p, p)) == 0
    assert float(divergence(p, q, single=True)) == pytest.approx(0.13081203594, abs=1e-6)
    assert divergence(p, q, single=True).dtype == torch.float32 and divergence(p, q).dtype == torch.float64


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
    Collision(["bird", "dog"], ["a photo of a dog.", "a photo of a (bird),"], 2),
    Collision(["st. bernard", "dog"], ["a photo of a cat", "a photo of a st bernard"], 1),
    Collision(["jack-o'-lantern", "dog"], ["a photo of a dog's", "a jack o' lantern."], 1),
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
    attack = BertAttackSettings(compat=compat, max_words_changed=changes)
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
    encoded = partial(random_mlm(0).round_trip, max_tokens=30)
    assert encoded("This is a photo of a t-shirt") == "this is a photo of a t - shirt"
    assert encoded("This is a bird's nest") == "this is a bird's nest"
    assert encoded("This is a [UNK] of a cat") == "this is a [UNK] of a cat"
    assert encoded("cat " * 50) == " ".join(["cat"] * 28)


def test_an_unknown_compat_is_refused():
    with pytest.raises(UserError):
        BertAttackSettings(compat="both")


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
    assert loaded.digest() == load_masked_lm(tmp_path, name="other").digest()
    assert loaded.origin.kind == OWN
    first, second = (m.predict(class_prompts(NAMES, TEMPLATE), max_tokens=None, k=10) for m in (mlm, loaded))
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(first, second, strict=True))
    before = mlm.digest()
    with torch.no_grad():
        next(mlm.model.parameters()).view(-1)[0] += 1
    assert mlm.digest() != before


@pytest.mark.parametrize("mark", ["\u0120{}", "\u2581{}", "{}</w>"])
def test_a_vocabulary_that_marks_words_in_another_way_is_refused(tmp_path: Path, mark: str):
    """RoBERTa, ALBERT and others: "\u0120dog" would end in a prompt."""
    mlm = random_mlm(0)
    mlm.model.save_pretrained(tmp_path)
    mlm.tokenizer.save_pretrained(tmp_path)
    document = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf8"))
    vocabulary = document["model"]["vocab"]
    marked = {(mark.format(piece) if piece.isalpha() else piece): i for piece, i in vocabulary.items()}
    document["model"]["vocab"] = marked
    (tmp_path / "tokenizer.json").write_text(json.dumps(document), encoding="utf8")
    with pytest.raises(UserError, match="as BERT does"):
        load_masked_lm(tmp_path, name="other")


@pytest.mark.parametrize("single", ["$A", "$A [SEP]", "[CLS] [CLS] $A [SEP]"])
def test_a_tokenizer_that_marks_texts_in_another_way_is_refused(tmp_path: Path, single: str):
    """Each word would get the candidates of its neighbour."""
    mlm = random_mlm(0)
    marks = [(token, mlm.tokenizer.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    mlm.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=marks)
    mlm.model.save_pretrained(tmp_path)
    mlm.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="one token each, as BERT does"):
        load_masked_lm(tmp_path, name="other")


@pytest.mark.parametrize("options", [{"max_candidates": 0}, {"max_candidates": -1}, {"max_words_changed": 0}], ids=str)
def test_an_attack_that_would_leave_every_prompt_is_refused(options: dict[str, int]):
    with pytest.raises(UserError, match="is not positive"):
        BertAttackSettings(**options)


def test_more_candidates_than_there_are_words_are_all_words():
    mlm, words = random_mlm(0), len(wordpiece_tokenizer())
    some, every = (mlm.predict(["a cat"], max_tokens=None, k=k)[0] for k in (words, words + 1))
    assert torch.equal(some.tokens, every.tokens) and some.tokens.shape[1] == words


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
