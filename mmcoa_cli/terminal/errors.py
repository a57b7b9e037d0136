"""What a user reads where an exception has no words of its own: of the disk, a file, the memory, or a bug."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from pathlib import Path

from store.errors import Lost, UserError

from .typed import typed

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MEMORY = re.compile(  # the last is oneDNN's, of a CPU
    r"can't allocate memory|not enough memory|Storage size calculation overflowed|out of memory"
    r"|^could not create a primitive$",
    re.IGNORECASE,
)
OF_RUST = re.compile(r"\(os error (\d+)\)")  # an OSError in the words of safetensors and other libraries in Rust
OF_CHANCE = re.compile(r"^(\S+) does not have a deterministic implementation")  # torch's words
ACCELERATORS = "OutOfMemoryError"  # torch's, which is not imported for it
SMALLER = "try again with a smaller --batch-size"


def explained(error: Exception) -> UserError:
    """Put `error` into one line and a hint."""
    if isinstance(error, Lost):
        fetch = typed("fetch", {}, names=[error.name])
        return UserError(str(error), hint=f"remove it and type: {fetch}" if error.damaged else fetch)
    if isinstance(error, UserError):
        return error
    if type(error).__name__ == ACCELERATORS:
        return UserError("the accelerator is out of memory", hint=SMALLER)
    if is_out_of_memory(error):
        return UserError("there is not enough memory", hint=f"{SMALLER}, or with fewer --processes")
    if isinstance(error, OSError) and error.errno is not None:
        return _of_a_file(error)
    if found := OF_RUST.search(str(error)):
        number = int(found[1])
        return _of_a_file(OSError(number, os.strerror(number)))
    if found := OF_CHANCE.search(str(error)):
        return UserError(
            f"{found[1]}, which the model or the attack needs, gives other bits every time on this device",
            hint="add --fast: the numbers are as true, and tables name it",
        )
    if isinstance(error, RecursionError):
        return UserError("a file is nested too deeply to be read", hint="add --debug to see which")
    return UserError(
        f"{type(error).__name__}: {error}", hint="this is a bug in mmcoa; add --debug to see where, and report it"
    )


def is_out_of_memory(error: Exception) -> bool:
    """Whether it says that memory ran out, of the accelerator or of the machine."""
    if isinstance(error, MemoryError) or type(error).__name__ == ACCELERATORS:
        return True
    return isinstance(error, RuntimeError) and bool(MEMORY.search(str(error)))


def _of_a_file(error: OSError) -> UserError:
    """Put the error of a file into words: a full disk, or a file that cannot be read or written."""
    written = error.errno in FULL and error.filename2  # of a copy, the second is what there is no space for
    named = written or error.filename
    place = Path(os.fsdecode(named)) if isinstance(named, (str, bytes)) else None
    variable = _variable(place)
    if error.errno in FULL:
        where = place or "while writing to the store"
        larger = f", or set {variable} to a larger disk" if variable else ""
        return UserError(
            f"the disk is full ({where})",
            hint=f"free some space{larger}, and type the same command again",
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return UserError("too many files are open", hint="ulimit -n 4096, then type the same command again")
    if "No usable temporary directory" in str(error.strerror):
        return UserError("there is no folder for temporary files", hint="set TMPDIR to a folder you may write to")
    if error.errno == errno.ENOENT and place is not None and not place.is_absolute():  # as it was typed
        return UserError(f"there is no file or folder {place}", hint="check its name, and the folder you are in")
    verb = "cannot write to" if variable else "cannot use"
    hint = (
        f"set {variable} to a folder you may write to" if variable else "check that it exists and that you may use it"
    )
    return UserError(f"{verb} {place or 'a file'} ({error.strerror})", hint=hint)


def _variable(place: Path | None) -> str:
    """Name the variable that moves `place` elsewhere: MMCOA_HOME, HF_HOME or TMPDIR; empty where none does."""
    from ..settings import home

    if place is None:
        return "MMCOA_HOME"
    cache = Path(os.environ.get("HF_HOME") or os.path.expanduser("~/.cache/huggingface"))  # noqa: PTH111
    folders = {"HF_HOME": cache, "TMPDIR": Path(os.environ.get("TMPDIR") or "/tmp")}
    with suppress(UserError):
        folders = {"MMCOA_HOME": home().root, **folders}
    for name, folder in folders.items():
        if place.absolute().is_relative_to(folder) or folder.is_relative_to(place.absolute()):
            return name
    return ""
