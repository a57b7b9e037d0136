"""`python -m mmcoa_cli.plans.worker NUMBER`: do the steps of a plan that come through an open file, and tell through it
what comes of them and how far they are; with `--debug` the traceback of what fails.

It ends with the process at the other end, killed perhaps: nobody waits for the result.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import partial
from multiprocessing.connection import Connection
from queue import SimpleQueue
from traceback import format_exc
from typing import Any

from .. import plugins
from ..jobs.job import Start
from ..loading import end_without_search
from ..settings import home
from ..terminal.console import say, shown_elsewhere
from ..terminal.errors import explained
from ..terminal.signals import Stopped, raised
from .execution import Execution
from .steps import Step

_one = threading.Lock()  # bars are told of by several threads


def main() -> None:
    """Do what comes until a signal, or the end of the other process."""
    end_without_search()
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    send = partial(_send, connection)
    os.dup2(2, 1)  # whatever a library prints is no result
    try:
        with raised(), shown_elsewhere(send):
            plugins.load()
            tasks: SimpleQueue[tuple[Start, list[Step]]] = SimpleQueue()
            threading.Thread(target=_hear, args=(connection, tasks), daemon=True).start()
            while True:
                send("done", _done(*tasks.get()))
    except Stopped as stop:
        sys.exit(stop.exit_code)


def _done(start: Start, steps: list[Step]) -> Execution:
    """What came of these."""
    execution = Execution(home(), start)
    try:
        execution.attempt(steps)
    except Exception as error:  # nothing that fails takes others with it
        for line in format_exc().splitlines() if "--debug" in sys.argv else ():
            say(line)
        execution.fail(steps, explained(error))
    return execution


def _hear(connection: Connection[Any, Any], tasks: SimpleQueue[Any]) -> None:
    try:
        while True:
            tasks.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)


def _send(connection: Connection[Any, Any], *message: Any) -> None:
    with _one:
        connection.send(message)


if __name__ == "__main__":
    main()
