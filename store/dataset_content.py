"""What a dataset file holds beside its images: captions; and the checksum of every image, label and caption, as written
and as read again.

The captions of a split are their text in one compressed array, where each of them ends, and whose it is. Files of the
first version have a table of strings instead, as many for each image.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from .hdf5 import new_array
from .hdf5_limits import REFERENCE, refuse_unbounded
from .keys import canonical_json
from .printable import is_printable

if TYPE_CHECKING:
    from .dataset_info import DatasetInfo

READ = 2**20  # bytes of images read at a time
READ_ENCODED, FEW = 2**24, 64  # bytes and rows of encoded images read at a time
CAPTIONS, TEXT, ENDS, IMAGE = "captions", "text", "ends", "image"
ROWS = 2**16  # bytes of a chunk of text

Ints = npt.NDArray[np.int64]


def content_checksum(info: DatasetInfo, splits: Mapping[str, str]) -> str:
    """The checksum of a dataset: SHA-256 over its class names, the digests of its splits, and how they are decoded."""
    content: dict[str, Any] = {"class_names": info.class_names, "splits": splits}
    if info.oriented and info.image_size is None:  # the same bytes become other pixels
        content["oriented"] = True
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


class SplitDigest:
    """SHA-256 over the images of a split with their labels and captions, in their order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, image: npt.NDArray[np.uint8], label: int, captions: Sequence[str] = ()) -> None:
        self._digest.update(len(image).to_bytes(8, "little") + label.to_bytes(8, "little", signed=True))
        self._digest.update(image.reshape(-1).data)
        if captions:
            self._digest.update(canonical_json(list(captions)).encode())

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def crc_of_captions(captions: Sequence[str]) -> int:
    return zlib.crc32(canonical_json(list(captions)).encode())


def compute_checksum(file: Any, info: DatasetInfo) -> str:
    """The checksum of what is there. Raises ValueError for labels that are no class, and for more than the file holds.

    Memory is bounded by the largest image, time by the size of the file.
    """
    refuse_unbounded(file)
    return content_checksum(info, {split: _digest(file[split], info, split) for split in info.splits})


def _digest(group: Any, info: DatasetInfo, split: str) -> str:
    digest, labels = SplitDigest(), group["labels"][:]
    lowest, highest = (0, len(info.class_names) - 1) if info.class_names else (-1, -1)
    if len(labels) and not (labels.min() >= lowest and labels.max() <= highest):
        raise ValueError(f"labels of its split {split!r} are of no class")
    captions = read_captions(group, len(labels)) if info.captions else None
    for image, label in zip(_images(group["images"]), labels, strict=True):
        digest.update(image, int(label), next(captions) if captions else ())
    return digest.hexdigest()


def _images(array: Any) -> Iterator[npt.NDArray[np.uint8]]:
    if len(array.shape) > 1:
        step = max(1, READ // max(1, int(np.prod(array.shape[1:])) * array.chunks[0])) * array.chunks[0]
        for start in range(0, len(array), step):
            yield from array[start : start + step]
        return
    left = array.file.id.get_filesize()
    for image in _encoded(array):
        left = _take(left, len(image))
        yield image


def _encoded(array: Any) -> Iterator[npt.NDArray[np.uint8]]:
    """Chunk by chunk, which takes a quarter of the time that row by row does, where a chunk is small."""
    step = array.chunks[0] if array.chunks else 1
    for start in range(0, len(array), step):
        if 1 < step <= FEW and _claimed(array, start) <= READ_ENCODED:
            yield from array[start : start + step]
        else:
            yield from (array[row] for row in range(start, min(start + step, len(array))))


def _claimed(array: Any, start: int) -> int:
    """The bytes that the rows of a chunk say they have: what varies in length is kept as its length and its place."""
    _, rows = array.id.read_direct_chunk((start,))
    if array.id.get_create_plist().get_nfilters() or len(rows) != REFERENCE * array.chunks[0]:
        return READ_ENCODED + 1
    return int(np.frombuffer(rows, "<u4")[:: REFERENCE // 4].astype(np.int64).sum())


def _take(left: int, size: int) -> int:
    """Many rows may refer to the same bytes."""
    if size > left:
        raise ValueError("its rows claim more than the file holds")
    return left - size


def write_captions(group: Any, captions: Sequence[Sequence[str]]) -> None:
    """Write the captions of each image of a split, in its order."""
    own = group.create_group(CAPTIONS)
    encoded = [line.encode() for lines in captions for line in lines]
    text = np.frombuffer(b"".join(encoded), np.uint8)
    own.create_dataset(
        TEXT, data=text, maxshape=(None,), chunks=(min(ROWS, max(1, len(text))),), compression=1, fletcher32=True
    )
    new_array(own, ENDS, np.cumsum([len(line) for line in encoded], dtype=np.int64))
    new_array(own, IMAGE, np.repeat(np.arange(len(captions)), [len(lines) for lines in captions]))


def require_captions(group: Any, n: int, most: int) -> None:
    """Raises ValueError where a split of `n` images, each with up to `most` captions, does not hold any."""
    found = group[CAPTIONS]
    if isinstance(found, h5py.Dataset):
        right = found.shape == (n, most) and h5py.check_string_dtype(found.dtype) is not None
    else:
        kinds = {name: (found[name].dtype, found[name].ndim) for name in (TEXT, ENDS, IMAGE)}
        numbers = (np.dtype(np.int64), 1)
        right = kinds == {TEXT: (np.dtype(np.uint8), 1), ENDS: numbers, IMAGE: numbers}
    if not right:
        raise ValueError("it has not the captions it says")


def read_captions(group: Any, n: int) -> Iterator[list[str]]:
    """The captions of each of the `n` images of a split. Raises ValueError for what was never written so."""
    found = group[CAPTIONS]
    if isinstance(found, h5py.Dataset):
        yield from _first_version(found)
        return
    text, ends, image = found[TEXT][:].tobytes(), found[ENDS][:], found[IMAGE][:]
    _require_whole(ends, image, n, len(text))
    first = np.searchsorted(image, np.arange(n + 1)).tolist()
    starts = [0, *ends.tolist()]
    for row in range(n):
        yield [_line(text[starts[i] : starts[i + 1]]) for i in range(first[row], first[row + 1])]


def _require_whole(ends: Ints, image: Ints, n: int, size: int) -> None:
    """Every byte belongs to one caption, and every image has one."""
    lengths, steps = np.diff(ends, prepend=0), np.diff(image, prepend=-1)
    whole = len(ends) == len(image) and (lengths >= 0).all() and (steps >= 0).all() and (steps <= 1).all()
    if not whole or (int(ends[-1]), int(image[-1]) + 1) != (size, n) if len(ends) else (size, n) != (0, 0):
        raise ValueError("its captions are not those of its images")


def _line(text: bytes) -> str:
    line = text.decode()
    if not is_printable(line):
        raise ValueError(f"a caption does not print: {line[:40]!r}")
    return line


def _first_version(array: Any) -> Iterator[list[str]]:
    left = array.file.id.get_filesize()
    for row in range(len(array)):
        lines = [str(line) for line in array.asstr()[row]]
        left -= sum(map(len, lines))
        if left < 0:  # many rows may refer to the same bytes
            raise ValueError("its rows claim more than the file holds")
        yield lines
