"""How much of this package a command can enter, and what it did: figures that notes quote, and tests hold.

    python tests/helpers/entered.py evaluate --checkpoint tiny-clip --dataset digits --limit 100

runs that command and prints both.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OWN = ("mmcoa_cli", "store")
HEAVY = {
    "torch", "torchvision", "transformers", "open_clip", "accelerate", "huggingface_hub", "requests", "pyarrow",
    "sklearn", "scipy", "matplotlib", "h5py", "sqlalchemy", "alembic", "PIL", "tarfile", "zipfile",
}  # fmt: skip
_LINE = re.compile(r"import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$")


@dataclass
class Entered:
    """What a process imported: modules of this package, and heavy libraries."""

    own: set[str] = field(default_factory=set)
    heavy: set[str] = field(default_factory=set)


def entered(*arguments: str, **options: Any) -> Entered:
    """What `python ARGUMENTS` imports; `options` are subprocess.run's. Raises where it fails."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], stderr=subprocess.PIPE, text=True, cwd=ROOT, **options
    )
    if done.returncode:
        raise AssertionError("\n".join(line for line in done.stderr.splitlines() if not _LINE.match(line)))
    names = {match[1] for line in done.stderr.splitlines() if (match := _LINE.match(line))}
    return Entered({name for name in names if name.split(".")[0] in OWN}, names & HEAVY)


def within_reach(module: str) -> set[str]:
    """The modules of this package that `module` imports, at once or in some function, and all that those import."""
    found, left = {module}, [module]
    while left:
        new = imported(left.pop(), lazy=True) - found
        found |= new
        left += new
    return found


def longest_chain(module: str) -> tuple[str, ...]:
    """The longest chain of imports, each made when the module before it is imported; a circle is gone round once."""
    known: dict[str, tuple[str, ...]] = {}

    def below(name: str, above: tuple[str, ...]) -> tuple[str, ...]:
        if name not in known:
            others = [other for other in imported(name) if other not in above and other != name]
            known[name] = (name, *max((below(other, (*above, name)) for other in others), key=len, default=()))
        return known[name]

    return below(module, ())


@cache
def imported(module: str, *, lazy: bool = False) -> frozenset[str]:
    """The modules of this package that `module` imports, with those that its functions import where `lazy`."""
    path = _path(module)
    assert path is not None, module
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in _nodes(ast.parse(path.read_text(encoding="utf8")), lazy=lazy):
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found.update(name if _path(name := f"{base}.{alias.name}") else base for alias in node.names)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return frozenset(name for name in found if name.split(".")[0] in OWN and name != module)


def _nodes(node: ast.AST, *, lazy: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and not lazy:
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _nodes(child, lazy=lazy)


def _path(module: str) -> Path | None:
    place = ROOT / module.replace(".", "/")
    return next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None)


if __name__ == "__main__":
    verb = f"mmcoa_cli.commands.{sys.argv[1]}"
    did, chain = entered("-m", "mmcoa_cli", *sys.argv[1:]), longest_chain("mmcoa_cli.jobs.evaluation")
    print(f"{verb} can enter {len(within_reach(verb))} modules of mmcoa, and entered {len(did.own)}")  # noqa: T201
    print(f"it imported {', '.join(sorted(did.heavy)) or 'nothing heavy'}")  # noqa: T201
    print(f"the longest chain at import, {len(chain)}: {' > '.join(chain)}")  # noqa: T201
