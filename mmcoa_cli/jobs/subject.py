"""What is tested, as it is now: the names of a specification become a run and digests, once, for whoever computes.

Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from store.index import Index
from store.schema import Run

from ..models.digests import model_digest
from ..models.library import mlm_path
from ..models.origins import read_record
from ..models.runs import epoch_before_the_last, require_whole, run_of, weights_of
from ..settings import Home
from .evaluation_spec import EvaluationSpec


@dataclass(frozen=True)
class Words:
    """The masked LM of an evaluation, without its weights; empty where none takes part."""

    name: str = ""
    digest: str = ""
    origin: str = ""


@dataclass(frozen=True)
class Subject:
    """A run, or a model as it comes, with the digest of what is tested of it, and the masked LM that takes part.

    What is tested of a run is its last epoch where no `epoch` is named.
    """

    run: Run
    weights: str
    words: Words = Words()
    epoch: int | None = None


def find_subject(spec: EvaluationSpec, home: Home) -> Subject:
    """What the names of `spec` stand for. Raises UserError for those that are not there."""
    return subject_of(run_of(spec.checkpoint, home, Index(home.database_url)), spec, home)


def subject_of(run: Run, spec: EvaluationSpec, home: Home) -> Subject:
    """The run with the digests of what lies in the store now. Raises UserError for what cannot be read."""
    epoch = epoch_before_the_last(run, spec.epoch)
    if epoch:
        require_whole(run, home, epoch)
    return Subject(run, weights_of(run, home, epoch), words_of(spec, home), epoch)


def words_of(spec: EvaluationSpec, home: Home) -> Words:
    """The masked LM that `spec` names, where its attacks use one."""
    if not spec.takes_words:
        return Words()
    folder = mlm_path(spec.mlm, home)
    return Words(spec.mlm, model_digest(folder, name=spec.mlm), read_record(folder, name=spec.mlm).origin.kind)


def from_document(document: Mapping[str, Any]) -> Subject:
    """The subject that `asdict` made a document of."""
    return Subject(**{**document, "run": Run(**document["run"]), "words": Words(**document["words"])})
