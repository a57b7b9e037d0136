"""The exceptions that a user is meant to read."""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """Something a user can put right. `str(error)` says what is wrong, `hint` what to type next.

    The command line prints the two lines `error: ...` and `hint: ...` and exits with code 1.
    """

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")  # a traceback, which whoever calls this from Python sees, shows notes alone


class Lost(UserError):
    """Something that was brought into the store is not there, or not as it was.

    Whoever knows how brings it again under its `name`; the file `damaged`, where there is one, goes first.
    """

    def __init__(self, what: str, *, name: str, damaged: Path | None = None) -> None:
        super().__init__(what, hint="remove it and bring it again" if damaged else "bring it into the store")
        self.name, self.damaged = name, damaged
