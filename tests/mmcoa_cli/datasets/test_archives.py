"""Archives give names and bytes; hostile ones give one line."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mmcoa_cli.datasets import files
from mmcoa_cli.datasets.sources import archives
from mmcoa_cli.datasets.sources.archives import open_files
from store.errors import UserError

CONTENTS = {"b/2.txt": b"two", "a/1.txt": b"one", "b/.hidden": b"", "__MACOSX/b/._2.txt": b"litter"}
TarOf = Callable[..., bytes]


def read_all(path: Path) -> dict[str, bytes]:
    with open_files(path, scratch=path.parent) as files:
        return {name: files.read(name, at_most=1 << 20) for name in files.sizes}


def zip_of(contents: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_of_any_compression(tmp_path: Path, tar_of: TarOf, mode: str) -> None:
    (tmp_path / "x").write_bytes(tar_of(CONTENTS, mode))
    found = read_all(tmp_path / "x")
    assert found == {"a/1.txt": b"one", "b/2.txt": b"two"}
    assert list(found) == sorted(found)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_zip(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(zip_of(CONTENTS))
    assert read_all(tmp_path / "x") == {"a/1.txt": b"one", "b/2.txt": b"two"}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_of_any_size_and_compression(tmp_path: Path, compression: int) -> None:
    """Small ones are read without `zipfile`, where they are stored or deflated."""
    contents = {"large": os.urandom(archives.SMALL + 1), "none": b"", "small": os.urandom(99), "ä/猫.txt": b"one" * 9}
    (tmp_path / "x").write_bytes(zip_of(contents, compression))
    with open_files(tmp_path / "x", scratch=tmp_path) as found:
        assert {name: found.read(name, at_most=2 * archives.SMALL) for name in found.sizes} == contents


@pytest.mark.parametrize(("old", "new"), [(b"onetwo", b"onetwO"), (b"a/1.txtonetwo", b"a/2.txtonetwo")])
def test_a_small_member_that_was_altered_is_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    """Its content, or the name that stands before it."""
    (tmp_path / "x").write_bytes(zip_of({"a/1.txt": b"onetwo"}, zipfile.ZIP_STORED).replace(old, new))
    with pytest.raises(UserError, match="x is damaged"):
        read_all(tmp_path / "x")


def test_a_folder_with_links_of_its_owner(tmp_path: Path) -> None:
    for name, content in CONTENTS.items():
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name).write_bytes(content)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "3.txt").write_bytes(b"three")
    (tmp_path / "x" / "c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "x" / "d.txt").symlink_to(tmp_path / "elsewhere" / "3.txt")
    assert read_all(tmp_path / "x") == {"a/1.txt": b"one", "b/2.txt": b"two", "c/3.txt": b"three"}


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "C:/evil", "..\\evil"])
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, tar_of: TarOf, name: str) -> None:
    for number, data in enumerate([tar_of({name: b"x"}), zip_of({name: b"x"})]):
        (tmp_path / str(number)).write_bytes(data)
        with pytest.raises(UserError, match="unsafe path"):
            read_all(tmp_path / str(number))
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_tar_with_a_link_or_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "x", "w") as archive:
        info = tarfile.TarInfo("train/cat/1.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(UserError, match="a link or no file"):
        read_all(tmp_path / "x")


def test_a_zip_with_a_link_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("train/cat/1.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UserError, match="a link or no file"):
        read_all(tmp_path / "x")


def test_bombs_are_refused(tmp_path: Path, tar_of: TarOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_EXTRA", 100_000)
    for number, data in enumerate([tar_of({"a": bytes(10_000_000)}), zip_of({"a": bytes(10_000_000)})]):
        (tmp_path / str(number)).write_bytes(data)
        with pytest.raises(UserError, match="would unpack to more"):
            read_all(tmp_path / str(number))


def test_a_zip_that_understates_a_size_gives_no_more_than_it_states(tmp_path: Path) -> None:
    data = zip_of({"a": bytes(1_000_000)})
    lying = data.replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lying != data
    (tmp_path / "x").write_bytes(lying)
    with pytest.raises(UserError, match="damaged"):
        read_all(tmp_path / "x")


def test_too_many_files_are_refused(tmp_path: Path, tar_of: TarOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILES", 1)
    (tmp_path / "x").write_bytes(tar_of(CONTENTS))
    with pytest.raises(UserError, match="more than 1 files"):
        read_all(tmp_path / "x")


def test_a_file_larger_than_its_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(zip_of({"a": bytes(1000)}))
    with open_files(tmp_path / "x", scratch=tmp_path) as files, pytest.raises(UserError, match="too large"):
        files.read("a", at_most=999)


@pytest.mark.parametrize(
    "content", [b"", b"no archive at all", b"PK\x03\x04", b"\x1f\x8b\x08rest", b"BZh9", b"noise" * 999]
)
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UserError, match=r"neither a zip nor a tar|is damaged"):
        read_all(tmp_path / "x")


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz", "w:xz"])
def test_a_truncated_archive(tmp_path: Path, tar_of: TarOf, kind: str) -> None:
    contents = {f"{n}.bin": os.urandom(20_000) for n in range(10)}
    data = zip_of(contents, zipfile.ZIP_STORED) if kind == "zip" else tar_of(contents, kind)
    (tmp_path / "x").write_bytes(data[:100_000])
    with pytest.raises(UserError, match=r"damaged|neither"):
        read_all(tmp_path / "x")


def test_flipped_bytes_end_in_one_line_or_in_the_right_names(tmp_path: Path, tar_of: TarOf) -> None:
    content = {"a/1.txt": b"one" * 50}
    for data in (zip_of(content), tar_of(content, "w"), tar_of(content)):
        for place in range(0, len(data), max(1, len(data) // 60)):
            (tmp_path / "x").write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
            try:
                read_all(tmp_path / "x")
            except UserError:
                continue


def test_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file or folder"):
        read_all(tmp_path / "nowhere")
