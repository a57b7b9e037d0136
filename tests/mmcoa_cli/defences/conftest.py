"""Plugins of these tests, made known for one test as MMCOA_PLUGINS would make them known."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mmcoa_cli import catalog, defences
from mmcoa_cli.models.wrappers import WRAPPERS

from .plugins import border, counter, pmg_aft


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for text in (pmg_aft.ROW, border.ROW, counter.ROW):
        for name, row in catalog.methods_in(text).items():
            monkeypatch.setitem(catalog.methods(), name, row)
    for wrapper in (border.BORDER, counter.COUNTER):
        monkeypatch.setitem(WRAPPERS, wrapper.name, wrapper)
    monkeypatch.setattr(defences, "_REGISTERED", {})
    defences.register("pmg_aft", pmg_aft.loss)
    defences.register("bordered", border.loss)
    yield
