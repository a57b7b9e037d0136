"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Something a user can put right. `str(error)` says what is wrong, `hint` what to type next.

    The command line prints the two lines `error: ...` and `hint: ...` and exits with code 1.
    """

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint
