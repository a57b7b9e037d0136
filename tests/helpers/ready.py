"""Processes for `mmcoa` in which the large libraries lie loaded: loading them is most of what a command on small models
takes.

A server loads them once, and nothing of this package; every process is a fork of it. So in each the package is loaded
from the start, with its plugins and variables, and what comes after is as in a process that a shell has started: its
arguments, folder, session, signals and exit code, and the end of the interpreter. The workers that such a process
starts are forks of it in turn. Only what the server has loaded is not taken apart in each: that takes longer than a
command.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

LIBRARIES = (
    "torch", "torch.distributed", "torch._dynamo", "torchvision", "transformers.models.bert.modeling_bert",
    "transformers.models.auto.modeling_auto", "transformers.dynamic_module_utils", "open_clip", "accelerate", "h5py",
    "sqlalchemy.orm", "sqlalchemy.dialects.sqlite", "alembic.command", "rich.progress", "psutil", "typer.rich_utils",
    "typer.completion", "typer._adapters", "pydantic.types", "sqlite3", "scipy.special", "scipy.optimize",
)  # fmt: skip
LONGEST = 2**18  # bytes of a message: arguments and variables
WORKERS = ("mmcoa_cli.jobs.worker", "mmcoa_cli.plans.worker")
_popen: Any = subprocess.Popen
ENDS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)


def variables(**more: str) -> dict[str, str]:
    """What `mmcoa` finds in its environment: no network, one thread."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MMCOA_", "HF_"))}
    offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    return {**inherited, "PYTHONPATH": str(Path(__file__).parents[2]), **offline, **more}


def as_in_a_terminal() -> None:
    """What a terminal sends arrives, also where this test run was started in the background or by nohup."""
    for number in ENDS:
        signal.signal(number, signal.SIG_DFL)


class Server:
    """Starts processes. `env` is what the libraries see when they are loaded."""

    def __init__(self, env: Mapping[str, str]) -> None:
        # one packet a message; its own folder for temporary files, where libraries make some when they are loaded
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._folder = tempfile.TemporaryDirectory(prefix="mmcoa-tests-")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", __file__, str(theirs.fileno())],
                env={**env, "TMPDIR": self._folder.name}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()], start_new_session=True, preexec_fn=as_in_a_terminal,
            )  # fmt: skip
        self._ended: dict[int, int] = {}

    def start(
        self, words: Sequence[str], env: Mapping[str, str], folder: Path, *, script: str, files: list[int]
    ) -> int:
        """The number of a process that runs `mmcoa WORDS`, or `python SCRIPT WORDS`, and writes to these files."""
        request = json.dumps({"words": list(words), "env": dict(env), "folder": str(folder), "script": script})
        socket.send_fds(self._ours, [request.encode()], files)
        while (pid := self._hear()) is None:
            pass
        return pid

    def code(self, pid: int, *, seconds: float | None) -> int | None:
        """The exit code of a process, as `subprocess` has it; None where it has not ended by then."""
        until = None if seconds is None else time.monotonic() + seconds
        while pid not in self._ended:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([self._ours], [], [], left)[0]:
                return None
            self._hear()
        return self._ended[pid]

    def _hear(self) -> int | None:
        """Read a message: the number of a process that has started, or (None) that another has ended."""
        message = self._ours.recv(LONGEST)
        if not message:
            raise RuntimeError(f"the server of processes has ended with {self._process.wait()}")
        told = json.loads(message)
        if "status" not in told:
            return int(told["pid"])
        self._ended[told["pid"]] = os.waitstatus_to_exitcode(told["status"])
        return None

    def close(self) -> None:
        self._ours.close()
        self._process.wait()
        self._folder.cleanup()


class Started:
    """A process of the server, with as much of `subprocess.Popen` as the tests use."""

    def __init__(
        self, server: Server, words: Sequence[str], env: Mapping[str, str], folder: Path, *, script: str = ""
    ) -> None:
        self._server = server
        self._out, self._err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115  (closed with this object)
        files = [self._out.fileno(), self._err.fileno()]
        self.pid = server.start(words, env, folder, script=script, files=files)

    def poll(self) -> int | None:
        return self._server.code(self.pid, seconds=0)

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def wait(self, timeout: float | None = None) -> int:
        code = self._server.code(self.pid, seconds=timeout)
        if code is None:
            raise subprocess.TimeoutExpired("mmcoa", timeout or 0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        return _read(self._out), _read(self._err)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _next(connection: socket.socket) -> dict[str, Any]:
    """Start a process for each request. Returns in it, with the request, when what it is to be is set up. Ends all
    that run when the test run has ended, killed perhaps."""
    ends, heard = os.pipe()
    for end in (ends, heard):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(heard)
    running: set[int] = set()
    while True:
        ready, _, _ = select.select([connection, ends], [], [])
        if ends in ready:
            os.read(ends, 4096)
            running.difference_update(_tell_who_ended(connection))
        if connection not in ready:
            continue
        message, (*files,), _, _ = socket.recv_fds(connection, LONGEST, 2)
        if not message:
            for pid in running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            sys.exit()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for own, file in zip((1, 2), files, strict=True):
                os.dup2(file, own)
            for file in (*files, ends, heard):
                os.close(file)
            request: dict[str, Any] = json.loads(message)
            return request
        running.add(pid)
        connection.send(json.dumps({"pid": pid}).encode())
        for file in files:
            os.close(file)


def _tell_who_ended(connection: socket.socket) -> list[int]:
    told = []
    with contextlib.suppress(ChildProcessError, BrokenPipeError):  # there is none left, or nobody to tell
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            told.append(ended[0])
            connection.send(json.dumps(dict(zip(("pid", "status"), ended, strict=True))).encode())
    return told


class Fork:
    """A process that runs `python -m MODULE WORDS` as a fork of this one, as much of `subprocess.Popen` as a launcher
    uses. This package is loaded anew in it, with its plugins; signals do what they do in a program that begins."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str], pass_fds: Sequence[int] = ()) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            if pass_fds:  # or it would hold the other ends of what it is given
                for file in {int(path.name) for path in Path("/proc/self/fd").iterdir()} - {0, 1, 2, *pass_fds}:
                    with contextlib.suppress(OSError):
                        os.close(file)
            os._exit(_code_of(words, env))

    def poll(self) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode


def _code_of(words: Sequence[str], env: Mapping[str, str]) -> int:
    """Become the process, and end with this code."""
    signal.set_wakeup_fd(-1)
    for number in ENDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    atexit._clear()
    sys.stdout, sys.stderr, sys.unraisablehook = sys.__stdout__, sys.__stderr__, sys.__unraisablehook__
    os.environ.clear()
    os.environ.update(env)
    for name in [name for name, module in sys.modules.items() if _is_anew(getattr(module, "__file__", None) or "")]:
        del sys.modules[name]
    module, *sys.argv[1:] = words
    code: Any = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return int(code)


def _is_anew(file: str) -> bool:
    """Whether a module comes from a folder that PYTHONPATH names: this package, and plugins."""
    folders = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return "site-packages" not in file and any(file.startswith(f"{folder}{os.sep}") for folder in folders)


def _started_warm(args: Any, **options: Any) -> Any:
    """In place of `subprocess.Popen`: a worker of this package is a fork, whatever else is started a program."""
    if options.keys() <= {"env", "pass_fds"} and list(args[:2]) == [sys.executable, "-m"] and args[2] in WORKERS:
        return Fork(args[2:], **options)
    return _popen(args, **options)


def _keep(modules: list[Any]) -> None:
    """Leave these out of the interpreter's end, which takes apart what is in `sys.modules`, and free them never."""
    known = {id(module) for module in modules}
    for name in [name for name, module in sys.modules.items() if id(module) in known]:
        del sys.modules[name]
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(modules))


def _end_with_the_interpreter() -> None:
    """After it, and the code is known, come the destructors of the libraries' C++: the process ends before them."""
    libc = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # only glibc has it
        libc.on_exit(libc._exit, None)


def main() -> None:
    loaded: list[Any] = []
    atexit.register(_keep, loaded)  # the first, so that it is done last
    for library in LIBRARIES:
        importlib.import_module(library)
    loaded += [module for name, module in sys.modules.items() if name not in ("sys", "builtins", "__main__")]
    gc.freeze()  # what is loaded stays shared: no collection, nor the one at the end of a fork, goes through it
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        request = _next(connection)
    _end_with_the_interpreter()
    os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["env"])
    tempfile.tempdir = None
    sys.path[:0] = [request["folder"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv[1:] = request["words"]
    psutil: Any = importlib.import_module("psutil")
    psutil.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": _started_warm})  # for what uses `psutil.Popen`
    if request["script"]:
        runpy.run_path(request["script"], run_name="__main__")
    else:
        runpy.run_module("mmcoa_cli", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
