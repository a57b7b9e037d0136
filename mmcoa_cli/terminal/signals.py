"""Signals that end the program: Ctrl-C, SIGTERM (Slurm, `kill`, a shutdown) and SIGHUP (a closed terminal).

The first signal is raised in the main thread, so that half-written files are removed. The main thread may be in a long
computation and not hear of it: a second Ctrl-C, or the end of a grace period, ends the program at once. The program
imports this module first; it is quick to import.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
GRACE = 20.0  # seconds to end in; Slurm kills after 30
SOON = 0.01  # seconds until a signal that was lost is raised again
AGAIN = 0.2  # seconds after which a second Ctrl-C is one: `timeout` and Slurm send a signal more than once


class Stopped(KeyboardInterrupt):
    """A signal asked the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.exit_code = 128 + number  # as shells have it


_stopped: list[Stopped] = []  # the first of this process
_kept: list[socket.socket] = []
_lost: list[Stopped] = []  # raised where Python lets no exception through
_held: list[list[int]] = []  # of each block that is not to be ended within, the signals heard in it


def stopped() -> Stopped | None:
    """Tell which signal asked this process to end; None where none has yet."""
    return _stopped[0] if _stopped else None


def stop(number: int) -> None:
    """End as the signal `number` would."""
    _stopped.append(Stopped(number))
    raise _stopped[0]


@contextmanager
def held() -> Iterator[None]:
    """Raise no signal within the block, which is short, but after it: all of it is done."""
    _held.append([])
    try:
        yield
    finally:
        heard = _held.pop()
    if heard:
        _raise(heard[0], None)


@contextmanager
def raised(on_leave: Callable[[Stopped], None] | None = None, *, grace: float = GRACE) -> Iterator[None]:
    """Raise `Stopped` for a signal within the block. Call `on_leave` before leaving the program at once, `grace`
    seconds after the first.

    A signal that was ignored before (by nohup, or in a background job of a script) stays ignored.
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
    hook, sys.unraisablehook = sys.unraisablehook, _raise_again_or(sys.unraisablehook)
    wakeup = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(ours, set(handled), on_leave, grace), daemon=True).start()
    try:
        yield
    finally:
        if _stopped:  # the watch goes on until the process has ended
            _kept.append(theirs)
        else:
            sys.unraisablehook = hook
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            theirs.close()


def _raise(number: int, _: Any) -> None:
    if _held:
        _held[-1].append(number)
    elif not _stopped or _lost:
        _lost.clear()
        stop(number)


def _raise_again_or(otherwise: Callable[[Any], object]) -> Callable[[Any], None]:
    """The hook for exceptions that Python only tells of. One for a signal that is heard while an object is removed (by
    `__del__`, by the callback of a weak reference) ends up there, and the program would go on: it is raised again."""

    def hook(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Stopped):
            otherwise(unraisable)
            return
        _lost.append(unraisable.exc_value)
        main, number = threading.main_thread().ident, unraisable.exc_value.number
        with suppress(RuntimeError):  # no thread begins while the interpreter ends, as it was asked to
            threading.Timer(SOON, signal.pthread_kill, (main, number)).start()

    return hook


def _watch(signals: socket.socket, handled: set[int], on_leave: Callable[[Stopped], None] | None, grace: float) -> None:
    """Leave the program at a second Ctrl-C, or when it has not ended in time. Runs in a thread of its own."""
    first, since = 0, 0.0
    while True:
        left = max(0.0, since + grace - time.monotonic()) if first else None
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
