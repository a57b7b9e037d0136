"""What is stored is not computed again, and whatever computing takes is not imported for it."""

from __future__ import annotations

import os
from pathlib import Path

from entered import entered
from typer.testing import CliRunner

from mmcoa_cli.app import app
from mmcoa_cli.settings import Home

COMPUTING = {
    "torch", "torchvision", "transformers", "open_clip", "accelerate", "huggingface_hub", "requests", "pyarrow", "PIL",
    "scipy", "sklearn", "matplotlib",
}  # fmt: skip
EVALUATE = (
    *("evaluate", "--checkpoint", "vit", "--dataset", "digits", "--mlm", "mlm"),
    *("--eps", "8/255", "--alpha", "4/255", "--steps", "2", "--limit", "20"),
)


def files(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (root / "examples").glob("*.h5")}


def test_an_evaluation_that_is_stored_imports_nothing_that_computes(
    home: Home,
) -> None:
    first = CliRunner().invoke(app, EVALUATE)
    assert first.exit_code == 0, first.exception
    before = files(home.root)
    assert len(before) == 4
    found = entered("-m", "mmcoa_cli", *EVALUATE, env={**os.environ, "MMCOA_HOME": str(home.root)})
    assert not found.heavy & COMPUTING
    assert not [name for name in found.own if name.startswith(("mmcoa_cli.attacks.pgd", "mmcoa_cli.models.clip"))]
    assert files(home.root) == before
