"""Signals that end the program: Ctrl-C, SIGTERM (Slurm, `kill`, a shutdown) and SIGHUP (a closed terminal).

The first is raised in the main thread, wherever that is, so that files which are half written are removed. The main
thread may be in the middle of a long computation and not hear of it: a second Ctrl-C ends the program at once, and so
does the end of a grace period. Importing this module is quick; it is the first thing the program does.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
GRACE = 20.0  # seconds to end in; Slurm kills after 30
AGAIN = 0.2  # seconds after which a second Ctrl-C is one: `timeout` and Slurm send a signal more than once


class Stopped(KeyboardInterrupt):
    """A signal asked the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.exit_code = 128 + number  # as shells have it


_stopped: list[Stopped] = []  # the first of this process
_kept: list[socket.socket] = []


def stopped() -> Stopped | None:
    """The signal that asked this process to end, None where none has yet."""
    return _stopped[0] if _stopped else None


def stop(number: int) -> None:
    """End as the signal `number` would."""
    _stopped.append(Stopped(number))
    raise _stopped[0]


@contextmanager
def raised(on_leave: Callable[[Stopped], None] | None = None) -> Iterator[None]:
    """Within the block a signal raises `Stopped`. `on_leave` is called where the program has to be left at once.

    A signal that was ignored before (nohup, a job in the background of a script) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = [number for number in NUMBERS if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)]
    if not handled:  # also where an outer block handles them
        yield
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    before = {number: signal.signal(number, _raise) for number in handled}
    wakeup = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(ours, set(handled), on_leave), daemon=True).start()
    try:
        yield
    finally:
        if _stopped:  # the watch goes on until the process has ended
            _kept.append(theirs)
        else:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            theirs.close()


def _raise(number: int, _: Any) -> None:
    if not _stopped:
        stop(number)


def _watch(signals: socket.socket, handled: set[int], on_leave: Callable[[Stopped], None] | None) -> None:
    """Leave the program at a second Ctrl-C, and when it has not ended in time. Runs in a thread of its own."""
    first, since = 0, 0.0
    while True:
        left = max(0.0, since + GRACE - time.monotonic()) if first else None
        ready, _, _ = select.select([signals], [], [], left)
        received = signals.recv(64) if ready else b""
        if ready and not received:
            return
        now = time.monotonic()
        again = signal.SIGINT in received and now - since > AGAIN
        if first and (again or not ready):
            with suppress(Exception):
                if on_leave is not None:
                    on_leave(Stopped(first))
            os._exit(128 + first)
        if not first and (ours := [number for number in received if number in handled]):
            first, since = ours[0], now
