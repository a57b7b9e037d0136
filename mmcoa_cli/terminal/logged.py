"""What `store`, which knows no terminal, logs (that a lock is waited for, that a file is looked through) is said as any
other line: as it is, logging would write into the bars."""

from __future__ import annotations

import logging

from .console import say


class _Said(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def say_what_is_logged() -> None:
    """From now on, in this process."""
    log = logging.getLogger("store")
    log.handlers, log.propagate = [_Said()], False
