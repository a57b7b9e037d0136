"""What `store` logs goes where everything else is said."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from mmcoa_cli.terminal.logged import say_what_is_logged
from store import files


def test_it_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        say_what_is_logged()
    logging.getLogger(files.__name__).warning("waiting for %s", tmp_path.name)
    assert capsys.readouterr().err == f"waiting for {tmp_path.name}\n"
