"""Keys: equal for equal specifications, different for any difference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from store.keys import canonical_json, digest_arrays, digest_file, key_of


@dataclass(frozen=True)
class Attack:
    eps: str
    steps: int


SPEC = {"attack": Attack("1/255", 10), "prompts": ["a cat"], "seed": 0, "limit": None, "scale": 1.5}


def test_canonical_json_is_compact_and_sorted() -> None:
    assert canonical_json({"b": (1, 2), "a": Attack("1/255", 10)}) == '{"a":{"eps":"1/255","steps":10},"b":[1,2]}'


def test_a_key_does_not_depend_on_order_or_container() -> None:
    turned = {name: SPEC[name] for name in reversed(SPEC)}
    assert key_of(SPEC) == key_of({**turned, "attack": {"steps": 10, "eps": "1/255"}, "prompts": ("a cat",)})
    assert len(key_of(SPEC)) == 40


@pytest.mark.parametrize(
    "change",
    [
        {"attack": Attack("2/255", 10)},
        {"attack": Attack("1/255", 11)},
        {"prompts": ["a cat."]},
        {"prompts": ["a", "cat"]},
        {"seed": 1},
        {"seed": "0"},
        {"limit": 0},
        {"scale": 1.5000000000000002},
        {"more": None},
    ],
)
def test_any_change_changes_the_key(change: dict[str, object]) -> None:
    assert key_of({**SPEC, **change}) != key_of(SPEC)


@pytest.mark.parametrize("value", [Path("x"), np.zeros(2), np.int64(3), {1: "a"}, {"a", "b"}, b"bytes", object()])
def test_what_has_no_one_writing_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        key_of({"value": value})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        key_of([value])


def test_digest_of_arrays_sees_name_dtype_shape_and_every_byte() -> None:
    base = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32(1).reshape(())}
    same = {"b": base["b"], "a": np.asfortranarray(base["a"])}
    others = [
        {**base, "a": base["a"].reshape(3, 2)},
        {**base, "a": base["a"].view(np.int32)},
        {**base, "a": np.nextafter(base["a"], np.float32(9))},
        {**base, "b": base["b"].reshape(1)},
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"]},
    ]
    digests = {digest_arrays(named) for named in others}
    assert digest_arrays(same) == digest_arrays(base)
    assert len(digests | {digest_arrays(base)}) == len(others) + 1


def test_digest_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert digest_file(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
