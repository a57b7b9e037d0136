"""Pickles as data: arrays come out, nothing runs."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcoa_cli.datasets.formats.plain_values import byte_rows, load_plain
from store.errors import UserError

ROWS = np.arange(24, dtype=np.uint8).reshape(2, 12)


class Hostile:
    def __init__(self, call: Any, *args: object) -> None:
        self.call = call, args

    def __reduce__(self) -> Any:
        return self.call


def test_arrays_of_bytes_as_python_2_wrote_them(python2_pickle: Callable[[object], bytes]) -> None:
    loaded = load_plain(python2_pickle({b"data": ROWS, b"labels": [3, 4]}), title="batch")
    assert loaded[b"labels"] == [3, 4]
    np.testing.assert_array_equal(byte_rows(loaded[b"data"], width=12, title="batch"), ROWS)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_arrays_of_bytes_of_today(protocol: int) -> None:
    data = pickle.dumps({"data": np.asfortranarray(ROWS).copy(order="C")}, protocol=protocol)
    if protocol == 5:  # an out-of-band-capable array asks for another function, which is not admitted
        with pytest.raises(UserError):
            load_plain(data, title="batch")
    else:
        np.testing.assert_array_equal(byte_rows(load_plain(data, title="x")["data"], width=12, title="x"), ROWS)


@pytest.mark.parametrize("protocol", range(6))
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "mark"
    for hostile in (
        Hostile(os.system, f"touch {mark}"),
        Hostile(eval, f"open({str(mark)!r}, 'w')"),
        Hostile(np.save, mark, 1),
    ):
        with pytest.raises(UserError, match="nothing of it was run"):
            load_plain(pickle.dumps({"data": hostile}, protocol=protocol), title="batch")
    assert not mark.exists()


@pytest.mark.parametrize(
    "array",
    [
        ROWS.astype(np.int16), ROWS.astype(object), ROWS.reshape(2, 3, 4), ROWS.reshape(4, 6), np.asfortranarray(ROWS),
        ROWS.view([("a", "u1")]), "a string", None, 7,
    ],
)  # fmt: skip
def test_what_is_no_array_of_byte_rows(array: Any) -> None:
    with pytest.raises(UserError, match="no images of 12 bytes"):
        byte_rows(load_plain(pickle.dumps(array, protocol=4), title="batch"), width=12, title="batch")


def test_a_state_that_is_forged() -> None:
    class Forged:
        def __reduce__(self) -> Any:
            reconstruct, arguments, state = ROWS.__reduce__()
            return reconstruct, arguments, (*state[:1], (10**9, 12), *state[2:])  # type: ignore[index]

    with pytest.raises(UserError, match="no images"):
        byte_rows(load_plain(pickle.dumps(Forged(), protocol=4), title="batch"), width=12, title="batch")


def test_damaged_pickles(python2_pickle: Callable[[object], bytes]) -> None:
    whole = python2_pickle({b"data": ROWS, b"labels": [3, 4]})
    for place in range(len(whole)):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]):
            try:
                loaded = load_plain(damaged, title="batch")
                byte_rows(loaded.get(b"data") if isinstance(loaded, dict) else None, width=12, title="batch")
            except UserError:
                continue
