"""HDF5 files on a disk that is full at any byte. (What is refused on reading: test_datasets, test_examples.)"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

FULL_AT_ANY_BYTE = """
import resource
import numpy as np
from store.hdf5 import writing

def write():
    with writing(folder / "file.h5") as file:
        file["numbers"] = np.arange(1000)
        file.attrs["complete"] = True
    return (folder / "file.h5").stat().st_size

size = write()
errors = set()
for limit in range(size - 1, 0, -61):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write()
        errors.add(None)
    except OSError as error:
        errors.add(error.errno)
print(errors)
"""


def test_a_full_disk_is_told_whichever_byte_finds_no_room(tmp_path: Path, other: Callable[[str], Any]) -> None:
    assert other(FULL_AT_ANY_BYTE).finish() == "{27}\n"  # EFBIG, each time; and the process ends well
