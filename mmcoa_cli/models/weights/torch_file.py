"""PyTorch's own files: what `torch.save` writes, today's and the older form, and TorchScript archives.

Only the numbers of the tensors and the pickle that names them are looked at; code in an archive is not.
"""

from __future__ import annotations

import mmap
import zipfile
from dataclasses import dataclass
from typing import IO, Any, cast

import torch
from torch import Tensor

from .plain_pickle import PlainUnpickler, Storage
from .tensors import NotWeights, strided

MAGIC = 0x1950A86A20F9469CFC6C  # what the older form begins with
LOCAL_HEADER = 30  # bytes of a zip entry's own header, before its name


@dataclass(frozen=True)
class TorchContent:
    """What a file holds: `tree` has dictionaries, lists, tensors (Weight) and what stands for other objects (Inert);
    `kinds` are the classes it names."""

    tree: Any
    script: bool
    kinds: frozenset[str]


def looks_like_torch(content: mmap.mmap) -> bool:
    """Whether the bytes begin as a zip archive or as a pickle of protocol 2 or later."""
    return content[:2] == b"PK" or (content[:1] == b"\x80" and content[1:2] in b"\x02\x03\x04\x05")


def read_torch(content: mmap.mmap) -> TorchContent:
    """The tensors of the file and how they are named. Raises NotWeights."""
    return _read_archive(content) if content[:2] == b"PK" else _read_older(content)


def _read_archive(content: mmap.mmap) -> TorchContent:
    try:
        archive = zipfile.ZipFile(cast(IO[bytes], content))
        entries = {entry.filename: entry for entry in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeDecodeError, OverflowError) as error:
        raise NotWeights(f"it is damaged: {str(error)[:100]}") from error
    if len(entries) < len(archive.infolist()):
        raise NotWeights("it has a part twice")
    pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise NotWeights("it is a zip archive, and none that torch.save wrote")
    folder = pickles[0].removesuffix("data.pkl")
    names = {name: name.removeprefix(folder) for name in entries}
    needed = [name for name, own in names.items() if own in ("data.pkl", "byteorder") or own.startswith("data/")]
    places = {names[name]: _place(content, entries[name]) for name in needed}
    order = places.get("byteorder")
    if order and content[order[0] : order[1]] == b"big":
        raise NotWeights("it was written on a machine of the other byte order")

    def read(storage: Storage, offset: int, dtype: torch.dtype, shape: Any, stride: Any) -> Tensor:
        start, _ = places[f"data/{storage.key}"]
        return strided(content, start + offset * dtype.itemsize, dtype, shape=shape, stride=stride)

    start, end = places["data.pkl"]
    pickled = PlainUnpickler(_Span(content, start, end), read=read)
    tree = pickled.load()
    ends = [_end(places, storage) for storage in pickled.storages.values()]
    if sum(ends) > len(content):  # entries that overlap
        raise NotWeights("it claims more than it holds")
    script = "constants.pkl" in names.values()
    return TorchContent(tree, script, frozenset(pickled.kinds))


def _end(places: dict[str, tuple[int, int]], storage: Storage) -> int:
    """The bytes of a storage. Raises NotWeights where the archive does not have them."""
    start, end = places.get(f"data/{storage.key}", (0, -1))
    size = storage.count * storage.dtype.itemsize
    if end - start < size:
        raise NotWeights("some of its numbers are missing")
    return size


def _place(content: mmap.mmap, entry: zipfile.ZipInfo) -> tuple[int, int]:
    """Where the bytes of an archive's entry begin and end."""
    header = content[entry.header_offset : entry.header_offset + LOCAL_HEADER]
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or len(header) < LOCAL_HEADER:
        raise NotWeights("it is compressed, which torch.save never does; unpack it")
    start = entry.header_offset + LOCAL_HEADER + sum(int.from_bytes(header[i : i + 2], "little") for i in (26, 28))
    if start + entry.file_size > len(content):
        raise NotWeights("it is cut off")
    return start, start + entry.file_size


def _read_older(content: mmap.mmap) -> TorchContent:
    """Pickles one after the other (what it is, the object, the keys of the storages), then the storages."""
    places: dict[str, int] = {}

    def read(storage: Storage, offset: int, dtype: torch.dtype, shape: Any, stride: Any) -> Tensor:
        return strided(content, places[storage.key] + offset * dtype.itemsize, dtype, shape=shape, stride=stride)

    source = _Span(content, 0, len(content))
    if PlainUnpickler(source, read=read).load() != MAGIC:
        raise NotWeights("it is a plain pickle, and none that torch.save wrote")
    about = [PlainUnpickler(source, read=read).load() for _ in range(2)][1]
    if isinstance(about, dict) and about.get("little_endian") is False:
        raise NotWeights("it was written on a machine of the other byte order")
    pickled = PlainUnpickler(source, read=read)
    tree = pickled.load()
    keys = PlainUnpickler(source, read=read).load()
    if not isinstance(keys, list) or set(map(str, keys)) != set(pickled.storages):
        raise NotWeights("some of its numbers are missing")
    place = source.tell()
    for key in keys:
        storage = pickled.storages[key]
        size = storage.count * storage.dtype.itemsize
        if int.from_bytes(content[place : place + 8], "little") != storage.count or place + 8 + size > len(content):
            raise NotWeights("it is cut off")
        places[key], place = place + 8, place + 8 + size
    return TorchContent(tree, script=False, kinds=frozenset(pickled.kinds))


class _Span:
    """A part of a mapped file, as something to read from."""

    def __init__(self, content: mmap.mmap, start: int, end: int) -> None:
        self.content, self.place, self.end = content, start, end

    def read(self, count: int) -> bytes:
        data = self.content[self.place : min(self.place + count, self.end)]
        self.place += len(data)
        return data

    def readline(self) -> bytes:
        found = self.content.find(b"\n", self.place, self.end)
        return self.read((found + 1 if found >= 0 else self.end) - self.place)

    def tell(self) -> int:
        return self.place
