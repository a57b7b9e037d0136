"""The masked language model of the text attack: it says which words could stand at a place in a prompt."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from store.errors import UserError
from store.keys import digest_arrays

from .architectures import first_line
from .digests import digest_of, digest_of_config, fetch_again, model_digest, verify
from .foreign_code import forbid_foreign_code
from .mlm_checks import check_mlm
from .origins import Origin, read_record

PIECES, BEST_PER_PIECE, COMBINATIONS = 12, 4, 24  # a word of several word-pieces, as in BERT-Attack's own code
PROBE = "a photo of a cat"
BERT_LIKE = "the text attack takes BERT-like models, such as bert-base-uncased or distilbert-base-uncased"
BATCH = 64  # texts
forbid_foreign_code()


class MaskedLM:
    """A BERT-style masked LM with its tokenizer, frozen. `folder` is where it was loaded from."""

    memory: Path | None = None  # what it says is not remembered

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        origin: Origin,
        folder: Path | None = None,
    ) -> None:
        self.model, self.tokenizer = model.eval().requires_grad_(False), tokenizer
        self.name, self.origin, self.folder = name, origin, folder
        self._length = lru_cache(maxsize=2**14)(lambda part: len(tokenizer.tokenize(part)))  # of most words, many times

    def digest(self) -> str:
        """The hash of everything that decides its predictions: all files of its folder, or, where it has none, its
        weights, configuration and tokenizer."""
        if self.folder is not None:
            return model_digest(self.folder, name=self.name)
        weights = {name: tensor.cpu().numpy() for name, tensor in self.model.state_dict().items()}
        tokenizer = getattr(self.tokenizer, "backend_tokenizer", None)
        parts = {
            "config": digest_of_config(json.loads(self.model.config.to_json_string(use_diff=False))),
            "tokenizer": tokenizer.to_str() if tokenizer else json.dumps(self.tokenizer.get_vocab(), sort_keys=True),
            "length": str(self.tokenizer.model_max_length),
        }
        return digest_of(digest_arrays(weights), parts)

    @property
    def loaded(self) -> MaskedLM:
        """Itself, as `StoredLM` has one."""
        return self

    def limit(self, max_tokens: int | None = None) -> int:
        """How many tokens of a text it reads, where no more than `max_tokens` are wanted."""
        return max_tokens or min(int(self.tokenizer.model_max_length), self.model.config.max_position_embeddings)

    def predict(
        self, texts: Sequence[str], *, max_tokens: int | None, k: int, at: Sequence[Sequence[int]] | None = None
    ) -> list[Prediction]:
        """Predict the k best tokens of every text, cut to `max_tokens`: at every position, or at those of each text
        that `at` names. Texts of one length are read together: to some models padding is not nothing."""
        limit = self.limit(max_tokens)
        read = self.tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"]
        every = [range(len(ids)) for ids in read]
        places = [[place for place in own if place in of] for own, of in zip(at or every, every, strict=True)]
        nothing = torch.empty(0, k), torch.empty(0, k, dtype=torch.long)
        found = [Prediction(self, own, *nothing, limit) for own in places]
        of_length: dict[int, list[int]] = {}
        for i, own in enumerate(places):
            if own:
                of_length.setdefault(len(read[i]), []).append(i)
        for some in (alike[n : n + BATCH] for alike in of_length.values() for n in range(0, len(alike), BATCH)):
            rows = torch.tensor([row for row, i in enumerate(some) for _ in places[i]])
            columns = torch.tensor([place for i in some for place in places[i]])
            logits = self._logits(torch.tensor([read[i] for i in some]), at=(rows, columns))
            best = logits.topk(min(k, logits.shape[-1]), dim=-1)
            scores, tokens = (part.cpu().split([len(places[i]) for i in some]) for part in best)
            for i, own_scores, own_tokens in zip(some, scores, tokens, strict=True):
                found[i] = Prediction(self, places[i], own_scores, own_tokens, limit)
        return found

    def spans(self, parts: Sequence[str], *, first: int) -> list[tuple[int, int]]:
        """Find where the pieces of each part of a text lie; `first` is the first piece's position (1, after [CLS])."""
        lengths = [self._length(part) for part in parts]
        ends = list(itertools.accumulate(lengths, initial=first))
        return list(itertools.pairwise(ends))

    def round_trip(self, text: str, max_tokens: int) -> str:
        """Turn a text into tokens and back: lower case, punctuation set apart, cut to `max_tokens`."""
        ids = self.tokenizer(text, truncation=True, max_length=max_tokens).input_ids
        decoded = str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=True))
        for token in (self.tokenizer.pad_token, self.tokenizer.cls_token, self.tokenizer.sep_token):
            decoded = decoded.replace(str(token), "")
        return decoded.strip()

    def perplexities(self, pieces: Tensor) -> Tensor:
        """exp(mean cross-entropy) of word-piece sequences (N, L) read on their own: (N,)."""
        logits = self._logits(pieces)
        losses = F.cross_entropy(logits.flatten(0, 1), pieces.to(logits.device).flatten(), reduction="none")
        return losses.view(pieces.shape).mean(dim=1).exp().cpu()

    @torch.no_grad()
    def _logits(self, ids: Tensor, *, at: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(B, L, V), or at some rows and columns (n, V)."""
        ids = ids.to(self.model.device)
        hook = None if at is None else _ask_for(at, self.model)
        try:
            logits: Tensor = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        finally:
            if hook is not None:
                hook.remove()
        if at is None:
            return logits
        return logits[0] if logits.shape[:2] == (1, len(at[0])) else logits[at]


def _ask_for(at: tuple[Tensor, Tensor], model: PreTrainedModel) -> RemovableHandle | None:
    """Have a model compute no more than some rows and columns (1, n, H) of (B, L, H) where no token sees others any
    more: in BERT from the attention of its last layer on, in others that can be told so in the head."""
    if model.base_model is model:
        return None
    body: Any = model.base_model
    layers: Any = body.encoder.layer if model.config.model_type == "bert" else ()
    if len(layers):
        mixed: nn.Module = layers[-1].attention.output
        return mixed.register_forward_pre_hook(lambda _, args: tuple(part[at][None] for part in args))
    return model.base_model.register_forward_hook(partial(_keep_only, at))


def _keep_only(at: tuple[Tensor, Tensor], _: nn.Module, __: Any, output: Any) -> Any:
    if getattr(output, "last_hidden_state", None) is not None:
        output.last_hidden_state = output.last_hidden_state[at][None]
    return output


@dataclass(frozen=True)
class Prediction:
    """The masked LM's best tokens at some `positions` of one text, of which it reads `limit` tokens: `scores` (logits)
    and `tokens`, both (positions, k), the best first."""

    mlm: MaskedLM
    positions: list[int]
    scores: Tensor
    tokens: Tensor
    limit: int

    def words(
        self, start: int, end: int, *, min_score: float, one_word: bool = False, ranked: bool = True
    ) -> list[str]:
        """List candidates for the word whose pieces are at start..end, the best first; none where the text was cut.
        With `one_word` a word of several pieces becomes one word, else as many as its new pieces make. These are in
        order of perplexity if they are to be `ranked`, which takes another pass of the masked LM."""
        rows = [self.positions.index(place) for place in range(start, end) if place in self.positions]
        if start > self.limit - 2 or not rows:
            return []
        if end - start > 1:
            return self._combinations(self.tokens[rows], one_word=one_word, ranked=ranked)
        chosen = self.tokens[rows[0]][self.scores[rows[0]] >= min_score]
        return [str(token) for token in self.mlm.tokenizer.convert_ids_to_tokens(chosen.tolist())]

    def _combinations(self, tokens: Tensor, *, one_word: bool, ranked: bool) -> list[str]:
        """Combine the best pieces for a word of several, by rising perplexity if they are to be ranked."""
        names = self.mlm.tokenizer.convert_ids_to_tokens
        best = tokens[:PIECES, :BEST_PER_PIECE].tolist()
        if one_word:  # a piece that begins a word, then pieces that go on with it
            best = [[t for t in some if str(names(t)).startswith("##") == (i > 0)] for i, some in enumerate(best)]
        pieces = torch.tensor(list(itertools.islice(itertools.product(*best), COMBINATIONS)))
        if ranked and len(pieces):
            pieces = pieces[torch.argsort(self.mlm.perplexities(pieces), stable=True)]
        return [" ".join(names(row)).replace(" ##", "").strip() for row in pieces.tolist()]


def load_masked_lm(folder: Path, *, name: str) -> MaskedLM:
    """The masked LM in a Hugging Face folder (config, safetensors, tokenizer), in float32.

    Raises UserError when it is missing, or is not the one that was fetched.
    """
    if not folder.is_dir():
        raise UserError(f"{name} is not in the store", hint=f"mmcoa fetch {name}")
    quiet_transformers()
    verify(folder, name=name)
    check_mlm(folder, name=name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModelForMaskedLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except Exception as error:  # the tokenizers library raises no other class
        raise UserError(f"{name} cannot be loaded: {first_line(error)}", hint=fetch_again(folder, name)) from error
    _require_word_pieces(tokenizer, name=name)
    return MaskedLM(model.float(), tokenizer, name=name, origin=read_record(folder).origin, folder=folder)


def _require_word_pieces(tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
    """Raises UserError for a vocabulary that marks where words begin ("Ġdog", "▁dog") or end: the marks would get into
    the prompts, and a word would look like a part of one; and for one token too many or too few before a text: each
    word would get the candidates of another."""
    vocabulary = tokenizer.get_vocab()
    marked = [token for token in vocabulary if len(token) > 1 and (token[0] in "Ġ▁" or token.endswith("</w>"))]
    if len(marked) > len(vocabulary) / 20:
        raise UserError(
            f"{name} does not take words apart as BERT does: its vocabulary has {min(marked)!r} where BERT has pieces "
            "such as '##s'",
            hint=BERT_LIKE,
        )
    pieces = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(PROBE))
    if tokenizer(PROBE)["input_ids"][1:-1] != pieces:
        raise UserError(f"{name} does not begin and end a text with one token each, as BERT does", hint=BERT_LIKE)


def quiet_transformers() -> None:
    """Silence transformers' bars and advice: the console shows our own progress."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
