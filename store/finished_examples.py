"""Example sets that lie in a store, by their files, whatever their specification."""

from __future__ import annotations

import json
from pathlib import Path

import h5py

from .example_content import TEXTS
from .example_reading import lines_of, reading, require_content, said_of
from .examples import ExampleSet


def stored_set(path: Path) -> ExampleSet:
    """The finished example set at `path`, of the specification that it holds. Raises UserError where it is damaged."""
    with reading(path) as file:
        require_content(path, file)
        said = said_of(file)
        samples = next(len(array) for array in file.values() if isinstance(array, h5py.Dataset))
        found = ExampleSet(path.parent, json.loads(said["spec"]), n=samples, block_size=int(said["block_size"]))
        if found.path.name != path.name:
            raise ValueError("it is not the set that its name says")
    return found


def stored_texts(path: Path) -> dict[str, list[str]]:
    """All lists of strings of a finished set, by name, whatever its specification. Raises UserError for damage."""
    with reading(path) as file:
        require_content(path, file)
        return {name: lines_of(array) for name, array in file.get(TEXTS, {}).items()}
