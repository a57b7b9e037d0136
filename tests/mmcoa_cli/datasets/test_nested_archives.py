"""Archives within archives: opened where they are, and as harmless as one alone."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmcoa_cli.catalog import DatasetRow
from mmcoa_cli.datasets import files as files_of_a_dataset
from mmcoa_cli.datasets.files import Files
from mmcoa_cli.datasets.sources import archives, nested_archives
from mmcoa_cli.datasets.sources.archives import open_files, unpacked
from mmcoa_cli.datasets.sources.nested_archives import expanded
from store.errors import UserError

Make = Callable[..., Any]
INSIDE = {"images/a.png": b"image a", "images/b.png": b"image b", "notes/.hidden": b"", "__MACOSX/a.png": b"litter"}
SEEN = {"images/a.png": b"image a", "images/b.png": b"image b"}


def contents(files: Files) -> dict[str, bytes]:
    return {path: files.read(path, at_most=1 << 20) for path in files.sizes}


def read_expanded(path: Path) -> dict[str, bytes]:
    with open_files(path, scratch=path.parent) as outer, expanded(outer) as files:
        assert list(files.sizes) == sorted(files.sizes)
        return contents(files)


@pytest.fixture
def pack(tar_of: Make, zip_of: Make) -> Callable[[str, dict[str, bytes]], bytes]:
    """An archive of the kind that a file name says."""

    def make(name: str, files: dict[str, bytes]) -> bytes:
        if name.endswith(".zip"):
            return zip_of(files)
        modes = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}
        return tar_of(files, modes[Path(name).suffix])

    return make


@pytest.mark.parametrize("outer", ["x.tar", "x.tar.gz", "x.zip", "folder"])
@pytest.mark.parametrize("inner", ["i.tar", "i.tar.gz", "i.tgz", "I.ZIP", "i.tar.bz2", "i.tar.xz"])
def test_an_archive_in_another(outer: str, inner: str, pack: Make, laid: Make, tmp_path: Path) -> None:
    files = {f"deep/{inner}": pack(inner.lower(), INSIDE), "readme.txt": b"hello"}
    if outer == "folder":
        laid("folder", files)
    else:
        (tmp_path / outer).write_bytes(pack(outer, files))
    expected = {f"deep/{path}": data for path, data in SEEN.items()} | {"readme.txt": b"hello"}
    assert read_expanded(tmp_path / outer) == expected
    assert [path.name for path in tmp_path.iterdir()] == [outer]  # nothing stays behind


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_archives_are_opened_three_deep(depth: int, zip_of: Make, tmp_path: Path) -> None:
    data = zip_of(SEEN)
    for _ in range(depth):
        data = zip_of({"next.zip": data})
    (tmp_path / "x.zip").write_bytes(data)
    found = read_expanded(tmp_path / "x.zip")
    assert found == SEEN if depth <= nested_archives.MAX_DEPTH else list(found) == ["next.zip"]


def test_beside_images_archives_stay_closed(zip_of: Make, laid: Make) -> None:
    files = {"a/a.png": b"image", "more.zip": zip_of(SEEN)}
    assert read_expanded(laid("x", files)) == files
    files = {"logo.png": b"image", "more.zip": zip_of(SEEN)}
    assert read_expanded(laid("y", files)) == {"logo.png": b"image", **SEEN}


def test_a_tar_in_a_tar_is_not_copied(tar_of: Make, tmp_path: Path) -> None:
    """32 MB of it are read through a window, with neither memory nor scratch space for them."""
    big = os.urandom(1 << 20)
    inner = tar_of({f"{n}.bin": big for n in range(32)}, "w")
    (tmp_path / "x.tar").write_bytes(tar_of({"i.tar": inner}, "w"))
    del inner
    tracemalloc.start()
    try:
        with open_files(tmp_path / "x.tar", scratch=tmp_path / "that is not there") as outer, expanded(outer) as files:
            assert files.read("7.bin", at_most=1 << 20) == big
            assert len(files.sizes) == 32
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_many_files_of_many_archives_are_read_in_any_order(tar_of: Make, tmp_path: Path) -> None:
    inner = {f"{k}.tar": tar_of({f"{k}-{n}.bin": b"%d %d" % (k, n) for n in range(20)}, "w") for k in range(9)}
    (tmp_path / "x.tar").write_bytes(tar_of(inner, "w"))
    with open_files(tmp_path / "x.tar", scratch=tmp_path) as outer, expanded(outer) as files:
        for path in sorted(files.sizes, key=lambda path: path[::-1]):
            k, n = path.removesuffix(".bin").split("-")
            assert files.read(path, at_most=99) == f"{k} {n}".encode()
        with files.open("3-1.bin") as one, files.open("3-2.bin") as other:
            assert (one.read(1), other.read(3), one.read(), other.read()) == (b"3", b"3 2", b" 1", b"")


def test_paths_that_collide_get_their_archives_name(zip_of: Make, laid: Make) -> None:
    files = {"a.zip": zip_of({"x.txt": b"1"}), "b.zip": zip_of({"x.txt": b"2"}), "x.txt": b"0"}
    assert read_expanded(laid("x", files)) == {"x.txt": b"0", "a/x.txt": b"1", "b/x.txt": b"2"}


def test_archives_that_are_called_like_a_split_are_kept_apart(zip_of: Make, tar_of: Make, laid: Make) -> None:
    files = {
        "train.zip": zip_of({"cat/1.png": b"1"}), "test.zip": zip_of({"cat/1.png": b"2"}),
        "val.zip": zip_of({"val/cat/1.png": b"3"}), "shard-train-0.tar": tar_of({"s.jpg": b"4"}, "w"),
        "img_val2014.zip": zip_of({"y.png": b"5"}),
    }  # fmt: skip
    assert read_expanded(laid("x", files)) == {
        "train/cat/1.png": b"1", "test/cat/1.png": b"2", "val/cat/1.png": b"3", "train/s.jpg": b"4",
        "y.png": b"5",
    }  # fmt: skip


def test_inner_bombs_share_the_allowance_of_the_outer_archive(
    pack: Make, zip_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each alone is within what an archive may unpack to; together they are not."""
    monkeypatch.setattr(archives, "MAX_EXTRA", 300_000)
    inner = {f"{n}.tar.gz": pack("i.tar.gz", {f"{n}.bin": bytes(200_000)}) for n in range(12)}
    for name in ("x.zip", "x.tar"):
        (tmp_path / name).write_bytes(pack(name, inner))
        with pytest.raises(UserError, match="would unpack to more than"):
            read_expanded(tmp_path / name)
    few = dict(list(inner.items())[:1])
    (tmp_path / "few.zip").write_bytes(zip_of(few))
    assert list(read_expanded(tmp_path / "few.zip")) == ["0.bin"]


def test_a_zip_of_zips_that_each_multiply(zip_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As 42.zip: each layer holds several copies of the next."""
    monkeypatch.setattr(archives, "MAX_EXTRA", 1_000_000)
    data = zip_of({"zeros.bin": bytes(900_000)})
    for layer in range(3):
        data = zip_of({f"{layer}-{n}.zip": data for n in range(16)})
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(UserError, match="would unpack to more than"):
        read_expanded(tmp_path / "x.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def link_tar(kind: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("train/cat/1.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    return buffer.getvalue()


def link_zip() -> bytes:
    buffer = io.BytesIO()
    info = zipfile.ZipInfo("train/cat/1.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("i.tar", link_tar(tarfile.SYMTYPE)), ("i.tar", link_tar(tarfile.LNKTYPE)),
        ("i.tar", link_tar(tarfile.CHRTYPE)), ("i.tar", link_tar(tarfile.FIFOTYPE)), ("i.zip", link_zip()),
    ],
)  # fmt: skip
def test_a_link_or_device_in_an_inner_archive_is_refused(name: str, data: bytes, pack: Make, tmp_path: Path) -> None:
    for outer in ("x.tar", "x.zip"):
        (tmp_path / outer).write_bytes(pack(outer, {name: data}))
        with pytest.raises(UserError, match="a link or no file"):
            read_expanded(tmp_path / outer)


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "C:/evil", "..\\evil"])
def test_a_path_of_an_inner_archive_that_leads_elsewhere_is_refused(path: str, pack: Make, tmp_path: Path) -> None:
    for name in ("i.tar", "i.tar.gz", "i.zip"):
        (tmp_path / "x.tar").write_bytes(pack("x.tar", {f"deep/{name}": pack(name, {path: b"x"})}))
        with pytest.raises(UserError, match="unsafe path"):
            read_expanded(tmp_path / "x.tar")


def test_too_many_files_over_all_archives_are_refused(
    zip_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_of_a_dataset, "MAX_FILES", 25)
    inner = {f"{k}.zip": zip_of({f"{k}-{n}.txt": b"" for n in range(10)}) for k in range(3)}
    (tmp_path / "x.zip").write_bytes(zip_of(inner))
    with pytest.raises(UserError, match="more than 25 files"):
        read_expanded(tmp_path / "x.zip")


@pytest.mark.parametrize("data", [b"", b"noise" * 99, b"PK\x03\x04", b"\x1f\x8b\x08", bytes(5000)])
def test_an_inner_file_that_is_no_archive_is_one_line(data: bytes, tar_of: Make, tmp_path: Path) -> None:
    for name in ("i.tar", "i.zip", "i.tar.gz"):
        (tmp_path / "x.tar").write_bytes(tar_of({name: data}, "w"))
        try:
            assert read_expanded(tmp_path / "x.tar") == {}
        except UserError as error:
            assert "\n" not in str(error) and error.hint


@pytest.mark.parametrize("inner", ["i.tar", "i.zip", "i.tar.gz"])
def test_truncated_inner_archives(inner: str, pack: Make, tar_of: Make, tmp_path: Path) -> None:
    whole = pack(inner, {f"{n}.bin": os.urandom(9_000) for n in range(5)})
    for cut in range(1, 45_000, 6_000):
        (tmp_path / "x.tar").write_bytes(tar_of({inner: whole[:cut]}, "w"))
        with pytest.raises(UserError):
            read_expanded(tmp_path / "x.tar")


def test_unpacking_writes_below_its_folder_and_takes_it_away(pack: Make, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(pack("x.zip", {"deep/i.tar": pack("i.tar", INSIDE)}))
    with (
        open_files(tmp_path / "x.zip", scratch=tmp_path) as outer,
        expanded(outer) as files,
        unpacked(files, scratch=tmp_path) as folder,
    ):
        assert folder.parent == tmp_path
        found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert found == {f"deep/{path}": data for path, data in SEEN.items()}
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def test_a_path_that_is_a_file_here_and_a_folder_there(zip_of: Make, laid: Make, tmp_path: Path) -> None:
    """No folder can hold both; reading the archives can."""
    files = {"a.zip": zip_of({"x": b"a file"}), "b.zip": zip_of({"x/y": b"below a folder"})}
    with open_files(laid("x", files), scratch=tmp_path) as outer, expanded(outer) as found:
        assert sorted(contents(found).values()) == [b"a file", b"below a folder"]


def test_a_folder_that_is_a_link_is_taken(image: Make, laid: Make, fetched: Make, tmp_path: Path) -> None:
    laid("real", {f"{split}/{pet}/1.png": image(0) for split in ("train", "test") for pet in ("cat", "dog")})
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    assert fetched(DatasetRow("pets"), tmp_path / "link").info.splits == {"train": 2, "test": 2}


def test_a_folder_that_holds_itself_ends(image: Make, laid: Make, tmp_path: Path) -> None:
    folder = laid("x", {"train/cat/1.png": image(0)})
    (folder / "train" / "again").symlink_to(folder, target_is_directory=True)
    try:
        with open_files(folder, scratch=tmp_path) as files:
            assert "train/cat/1.png" in files.sizes
    except UserError as error:
        assert "\n" not in str(error)


def test_datasets_as_archives_of_archives(
    image: Make, zip_of: Make, tar_of: Make, fetched: Make, tmp_path: Path
) -> None:
    classes = {f"{split}/{pet}.tar.gz": tar_of({f"{pet}/{n}.png": image(n) for n in range(2)})
               for split in ("train", "test") for pet in ("cat", "dog")}  # fmt: skip
    (tmp_path / "pets.zip").write_bytes(zip_of(classes))
    dataset = fetched(DatasetRow("pets"), tmp_path / "pets.zip")
    assert dataset.info.splits == {"train": 4, "test": 4}
    assert dataset.info.class_names == ("cat", "dog")
