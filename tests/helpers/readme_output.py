"""The commands of the README's console blocks, and what they print in one store of their own.

    python tests/helpers/readme_output.py

runs them (minutes: the stand-ins are trained first) and puts what they print into the README.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from ready import variables

README = Path(__file__).parents[2] / "README.md"
SHOWN = "~/.local/share/mmcoa"  # where the store lies, unless MMCOA_HOME says otherwise
_BLOCK = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)


def typed(block: str) -> list[tuple[str, str]]:
    """Each command of a console block, and the output that stands below it."""
    return [(command, output) for command, _, output in (part.partition("\n") for part in block.split("$ ")[1:])]


def shown() -> list[tuple[str, str]]:
    """Those of all console blocks of the README."""
    return [pair for block in _BLOCK.findall(README.read_text(encoding="utf8")) for pair in typed(block)]


def as_shown(output: str, home: Path) -> str:
    """What a command printed in the store `home`, as the README shows it."""
    return output.replace(str(home), SHOWN)


def _printed(command: str, home: Path) -> str:
    """What `command` prints on standard output, as a shell would run it. Raises where it fails."""
    env, words = variables(MMCOA_HOME=str(home)), command.split()[1:]
    done = subprocess.run([sys.executable, "-m", "mmcoa_cli", *words], env=env, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(done.stderr)
    return as_shown(done.stdout, home)


def renew() -> None:
    with tempfile.TemporaryDirectory() as folder:

        def again(block: re.Match[str]) -> str:
            return "".join(f"$ {command}\n{_printed(command, Path(folder))}" for command, _ in typed(block[0]))

        README.write_text(_BLOCK.sub(again, README.read_text(encoding="utf8")), encoding="utf8")


if __name__ == "__main__":
    renew()
