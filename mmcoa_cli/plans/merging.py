"""Tests in few commands: those of one checkpoint whose settings agree are one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from ..jobs.evaluation_spec import EvaluationSpec

APART = {"attacks", "mlm", "options"}  # of a specification: what tests that are made at once may differ in


def merged(tests: Iterable[EvaluationSpec], *, over: str = "attacks") -> list[EvaluationSpec]:
    """Tests that differ only in what they are `over` (attacks, or datasets) as one of all, in the order in which they
    come."""
    found: dict[tuple[Any, ...], list[EvaluationSpec]] = {}
    for new in tests:
        same = found.setdefault(_apart(new, over), [])
        number = next((number for number, old in enumerate(same) if _agree(old, new)), None)
        if number is None:
            same.append(new)
        else:
            same[number] = _both(same[number], new, over)
    return [test for same in found.values() for test in same]


def _apart(spec: EvaluationSpec, over: str) -> tuple[Any, ...]:
    names = [field.name for field in fields(spec) if field.name not in {*APART, over}]
    return (*(getattr(spec, name) for name in names), spec.attacks if over != "attacks" else ())


def _both(old: EvaluationSpec, new: EvaluationSpec, over: str) -> EvaluationSpec:
    every = tuple(dict.fromkeys((*getattr(old, over), *getattr(new, over))))
    if over == "datasets":
        return old.on(*every)
    return old.changed(mlm=old.mlm if old.takes_words else new.mlm, **{**new.options, over: every})


def _agree(one: EvaluationSpec, other: EvaluationSpec) -> bool:
    """Whether the attacks of both, and those that they need, have the same settings."""
    words = not (one.takes_words and other.takes_words) or one.mlm == other.mlm
    return words and all(one.settings(part) == other.settings(part) for part in one.parts if part in other.parts)
