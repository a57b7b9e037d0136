"""Checkpoints: the tensors that were saved or words that say why not; complete or not there."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from store.checkpoints import copy_checkpoint, damage, drop_state, load_spec, load_state, load_tensors, save_checkpoint
from store.errors import UserError

Start = Callable[[str], Any]
TENSORS = {"weight": torch.randn(3, 4), "scale": torch.tensor(4.6), "half": torch.ones(2).half(), "no": torch.empty(0)}
STATE = {"step": torch.tensor(7), "average": torch.randn(3, 4, dtype=torch.float64)}
SPEC = {"method": "mmcoa", "seed": 0, "eps": "1/255"}

KILLED = """
import torch
from store.checkpoints import save_checkpoint

class Files(dict):
    def items(self):  # reached when the weights are written
        pause()

save_checkpoint(folder / "epoch", tensors={"weight": torch.zeros(1000)}, spec={"new": True}, files=Files(a="b"))
"""
FULL_DISK = """
import resource, torch
from store.checkpoints import save_checkpoint
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_checkpoint(folder / "epoch", tensors={"weight": torch.zeros(100_000)}, spec={"new": True})
except OSError as error:
    print(error.errno)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "epoch", tensors=TENSORS, spec=SPEC, state=STATE, files={"arch.json": "{}"})
    return tmp_path / "epoch"


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


def test_everything_comes_back(folder: Path) -> None:
    state = load_state(folder)
    assert same(load_tensors(folder), TENSORS)
    assert state is not None
    assert same(state, STATE)
    assert SPEC.items() <= load_spec(folder).items()
    assert (folder / "arch.json").read_text() == "{}"


def test_tensors_that_share_memory_or_are_trained_are_saved(tmp_path: Path) -> None:
    base = torch.randn(4, 3, requires_grad=True)
    save_checkpoint(tmp_path / "tied", tensors={"a": base, "b": base, "turned": base.T}, spec={})
    loaded = load_tensors(tmp_path / "tied")
    assert torch.equal(loaded["a"], base)
    assert torch.equal(loaded["b"], base)
    assert torch.equal(loaded["turned"], base.T)


def test_the_state_can_be_dropped(folder: Path) -> None:
    drop_state(folder)
    drop_state(folder)
    assert load_state(folder) is None
    assert same(load_tensors(folder), TENSORS)


def test_a_checkpoint_that_was_read_can_be_copied(folder: Path) -> None:
    load_tensors(folder)
    copy_checkpoint(folder, folder.with_name("copy"), spec={"seed": 1})
    assert same(load_tensors(folder.with_name("copy")), TENSORS)
    assert load_spec(folder.with_name("copy"))["seed"] == 1
    assert sorted(path.name for path in folder.with_name("copy").iterdir() if path.is_file()) == sorted(
        path.name for path in folder.iterdir() if path.is_file()
    )


def test_damage_is_found_whatever_is_remembered(folder: Path) -> None:
    assert damage(folder) is None
    (folder / "state.safetensors").write_bytes(b"other")
    assert damage(folder) == "state.safetensors is not what was saved"
    drop_state(folder)
    assert damage(folder) is None
    (folder / "spec.json").write_text((folder / "spec.json").read_text().replace('"seed": 0', '"seed": 1'))
    assert "spec.json was altered" in str(damage(folder))


def test_a_kill_leaves_the_old_checkpoint(folder: Path, other: Start) -> None:
    other(KILLED).paused().kill()
    assert same(load_tensors(folder), TENSORS)
    save_checkpoint(folder, tensors={}, spec={"new": True})
    assert load_spec(folder)["new"]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_full_disk_leaves_the_old_checkpoint(folder: Path, other: Start) -> None:
    assert other(FULL_DISK).finish() == "27\n"  # EFBIG
    assert same(load_tensors(folder), TENSORS)
    assert list(folder.parent.iterdir()) == [folder]


def rewrite(path: Path, content: bytes) -> None:
    """Replace a file and the hash recorded of it, as somebody would who wants it believed."""
    import hashlib

    path.write_bytes(content)
    spec = json.loads((path.parent / "spec.json").read_text())
    (path.parent / "spec.json").write_text(json.dumps({**spec, "sha256": hashlib.sha256(content).hexdigest()}))


def one_bit(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)


def header_longer_than_the_file(folder: Path) -> None:
    rewrite(folder / "model.safetensors", (2**62).to_bytes(8, "little") + b"{}")


def header_that_is_no_json(folder: Path) -> None:
    rewrite(folder / "model.safetensors", (4).to_bytes(8, "little") + b"{{{{")


def a_pickle(folder: Path) -> None:
    rewrite(folder / "model.safetensors", pickle.dumps(TENSORS["weight"].tolist()))


def weights_missing(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def spec_missing(folder: Path) -> None:
    (folder / "spec.json").unlink()


def spec_that_is_a_list(folder: Path) -> None:
    (folder / "spec.json").write_text("[]")


def spec_nested_without_end(folder: Path) -> None:
    (folder / "spec.json").write_text("[" * 100_000)


def spec_that_is_no_text(folder: Path) -> None:
    (folder / "spec.json").write_bytes(b"\xff\xfe")


@pytest.mark.parametrize(
    "damage",
    [
        one_bit, header_longer_than_the_file, header_that_is_no_json, a_pickle, weights_missing, spec_missing,
        spec_that_is_a_list, spec_nested_without_end, spec_that_is_no_text,
    ],
)  # fmt: skip
def test_a_damaged_or_hostile_checkpoint_is_refused_in_one_line(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    with pytest.raises(UserError, match="epoch cannot be read: ") as error:
        load_tensors(folder)
    assert error.value.hint


def test_a_damaged_state_is_refused(folder: Path) -> None:
    path = folder / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(UserError, match=r"state\.safetensors is not what was saved"):
        load_state(folder)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing cannot be read"):
        load_tensors(tmp_path / "nothing")
