"""Values in MATLAB files, which some datasets keep their labels in."""

from __future__ import annotations

import io
from typing import Any

from store.errors import UserError

from ..decoding import MAX_IMAGE
from ..files import Files


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
