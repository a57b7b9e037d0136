"""The line a user reads for an exception that no part of the program foresaw in words."""

from __future__ import annotations

import errno

from store.errors import UserError

NOT_WRITABLE = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST)


def explained(error: Exception) -> UserError:
    """`error` as one line and a hint: a full disk, a folder that is not writable, a full accelerator, or a bug."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return UserError(
            f"the disk is full ({error.filename or 'while writing'})",
            hint="free some space, or set MMCOA_HOME to a larger disk, and type the same command again",
        )
    if isinstance(error, OSError) and error.errno in NOT_WRITABLE:
        return UserError(
            f"cannot write to {error.filename or 'the store'} ({error.strerror})",
            hint="set MMCOA_HOME to a folder you may write to",
        )
    if type(error).__name__ == "OutOfMemoryError":
        return UserError("the accelerator is out of memory", hint="try again with a smaller --batch-size")
    return UserError(
        f"{type(error).__name__}: {error}", hint="this is a bug in mmcoa; add --debug to see where, and report it"
    )
