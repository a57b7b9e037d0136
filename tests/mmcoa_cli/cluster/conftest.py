"""A Slurm of the tests' own: its daemons on this machine alone, in a new folder, gone when the tests end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue")
# cred_expire: seconds (120 where it is not said) that a preempted job waits before it queues again
CONF = """
ClusterName=mmcoa-tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=20
SlurmctldPort={port}
SlurmdPort={other_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=60
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=60 OverSubscribe=NO State=UP
PartitionName=high Nodes=ALL PriorityTier=2 PreemptMode=OFF OverSubscribe=NO State=UP
"""


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until(true: Callable[[], bool], *, seconds: float = 300) -> None:
    """Wait until something is true. Raises AssertionError where it never is."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.2)


@contextmanager
def daemons(folder: Path) -> Iterator[Path]:
    """The configuration file of a Slurm that runs."""
    import getpass

    conf, key = folder / "slurm.conf", folder / "munge.key"
    host = socket.gethostname().split(".")[0]
    conf.write_text(
        CONF.format(host=host, user=getpass.getuser(), folder=folder, port=_free_port(), other_port=_free_port())
    )
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    munge = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.sock"]
    munge += [f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log", f"--seed-file={folder}/seed"]
    commands = [munge, ["slurmctld", "-D", "-c", "-f", str(conf)], ["slurmd", "-D", "-f", str(conf), "-N", host]]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            with (folder / f"{command[0]}.out").open("wb") as told:
                started.append(subprocess.Popen(command, stdout=told, stderr=told))
            until(lambda: (folder / "munge.sock").exists(), seconds=20)
        environment = {**os.environ, "SLURM_CONF": str(conf)}

        def idle() -> bool:
            told = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True)
            return "idle" in told.stdout

        until(idle, seconds=60)
        yield conf
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


@pytest.fixture(scope="module")
def slurm_conf() -> Iterator[Path]:
    """The configuration file of a Slurm of one node, which runs."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"Slurm is not installed ({missing[0]}): apt-get install slurm-wlm munge")
    folder = Path(tempfile.mkdtemp(prefix="mmcoa-slurm-"))
    try:
        with daemons(folder) as conf:
            yield conf
    except AssertionError as error:
        logs = "\n".join(path.read_text(errors="replace")[-500:] for path in folder.glob("*.out"))
        pytest.skip(f"Slurm does not start here ({error}): {logs}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def slurm(slurm_conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find that Slurm."""
    monkeypatch.setenv("SLURM_CONF", str(slurm_conf))
