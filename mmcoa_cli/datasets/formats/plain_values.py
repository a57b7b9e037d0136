"""Reading the pickles that CIFAR is published as without running anything they ask for; and MATLAB's files.

Dictionaries, lists, numbers, strings and NumPy arrays of bytes come out. NumPy itself takes no part: what a pickle
calls to build an array is recorded, and the array made from the recorded bytes once they are seen to be right.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt

from store.errors import UserError

from ..decoding import MAX_IMAGE
from ..files import Files


class _Recorded:
    """Stands for what NumPy would build, and only keeps what it was given."""

    args: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    ADMITTED = frozenset(
        [
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        ]
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _Recorded


_AGAIN = "download it again"
_REFUSED = (
    pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError, TypeError, ValueError,
    OverflowError, MemoryError, RecursionError,
)  # fmt: skip


def load_plain(data: bytes, *, title: str) -> Any:
    """What the pickle `data` holds; strings written by Python 2 come out as bytes.

    Raises UserError for a damaged pickle and for one that asks for anything but arrays.
    """
    try:
        return _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except _REFUSED as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"{title} is no plain data: {reason}; nothing of it was run", hint=_AGAIN) from error


def byte_rows(value: Any, *, width: int, title: str) -> npt.NDArray[np.uint8]:
    """A recorded array of unsigned bytes as (n, width). Raises UserError when it is anything else."""
    try:
        _, shape, kind, fortran, content = value.state
        rows, columns = shape
        if kind.args[0] in (b"u1", "u1") and not fortran and columns == width and len(content) == rows * columns:
            return np.frombuffer(content, dtype=np.uint8).reshape(rows, columns)
    except (AttributeError, TypeError, ValueError, IndexError):
        pass
    raise UserError(f"{title} holds no images of {width} bytes each", hint=_AGAIN)


def matlab_value(files: Files, path: str, name: str) -> Any:
    """The variable `name` of a MATLAB file. Raises UserError where there is none."""
    from scipy.io import loadmat

    try:
        return loadmat(io.BytesIO(files.read(path, at_most=MAX_IMAGE)), squeeze_me=True)[name]
    except UserError:
        raise
    except Exception as error:  # SciPy raises almost anything for a damaged file
        reason = f"{error or type(error).__name__}".splitlines()[0]
        raise UserError(f"{path} in {files.title} is damaged: {reason}", hint="download it again") from error
