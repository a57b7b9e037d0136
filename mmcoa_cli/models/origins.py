"""Where a model is from, and what was understood of it: the `source.json` of its folder.

**published**: a hub's repository at a commit, or open_clip's tag. **own**: a file or folder of this machine, with its
SHA-256. **stand-in**: made by `mmcoa pretrain`, or embedded. Importing this module does not import torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from store.errors import UserError

RECORD = "source.json"
OLD_WEIGHTS = ("open_clip_model.safetensors", "model.safetensors")
GUESS = " (OpenAI's own weights and those tuned from them need QuickGELU: --arch ARCH:openai)"
PUBLISHED, OWN, STAND_IN = "published", "own", "stand-in"


@dataclass(frozen=True)
class Origin:
    """`kind` is one of the three, `source` says where exactly, `sha256` is that of an own file of weights."""

    kind: str
    source: str = ""
    sha256: str = ""

    def __str__(self) -> str:
        """As a table has it."""
        if self.kind == OWN:
            return f"own weights, sha256 {self.sha256[:8]}" if self.sha256 else "own weights"
        return "a stand-in model" if self.kind == STAND_IN else f"published, {self.source}"

    def in_full(self) -> str:
        """As `fetch` says it."""
        if self.kind == OWN:
            return f"own weights of {self.source or 'this machine'}" + (
                f", sha256 {self.sha256}" if self.sha256 else ""
            )
        return f"a stand-in, made by {self.source or 'mmcoa'}" if self.kind == STAND_IN else f"published: {self.source}"


@dataclass(frozen=True)
class Record:
    """What source.json holds. `files` are the SHA-256 of what was fetched, `request` what was asked for, and
    `understood` what `fetch` says of the model."""

    name: str = ""
    origin: Origin = Origin(OWN)
    files: Mapping[str, str] = field(default_factory=dict)
    request: Mapping[str, str] = field(default_factory=dict)
    understood: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        origin = {"origin": self.origin.kind, "source": self.origin.source, "sha256": self.origin.sha256}
        parts = {"files": self.files, "request": self.request, "understood": self.understood}
        return json.dumps({"name": self.name, **origin, **{k: dict(v) for k, v in parts.items() if v}}, indent=2)

    def document(self) -> dict[str, Any]:
        """All of it, as `--json` prints it."""
        origin = self.origin
        return {"origin": origin.kind, "source": origin.source, "sha256": origin.sha256, **self.understood}

    def lines(self) -> Iterator[tuple[str, str]]:
        """Architecture, sizes and activation (and who says so); origin and digest; what was taken of the file."""
        known = self.understood
        if known:
            yield "model", f"{known.get('architecture')}; {known.get('parameters', 0):,} parameters"
        if "activation" in known:
            side, guess = known.get("image_size"), GUESS if "guess" in str(known["activation"]) else ""
            yield "input", f"images of {side} x {side} pixels, texts of {known.get('context_length')} tokens"
            yield "activation", f"{known['activation']}, said by {known.get('activation_from')}{guess}"
        yield "origin", f"{self.origin.in_full()}; licence unknown"
        if known:
            yield "digest", str(known.get("digest", ""))[:12]
        if "taken" in known:
            yield "taken", str(known["taken"])


def read_record(folder: Path, *, name: str = "") -> Record:
    """What a model's folder says of itself; an own model where it says nothing.

    Raises UserError for a record that is damaged: nothing could be verified by it.
    """
    try:
        about = json.loads((folder / RECORD).read_text(encoding="utf8")) if (folder / RECORD).is_file() else {}
        if not isinstance(about, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{RECORD} of {name or folder.name} is damaged: {error}", hint=f"remove {folder}, and fetch it again"
        ) from error
    maps = {name: about.get(name) for name in ("files", "request", "understood")}
    found = {name: value for name, value in maps.items() if isinstance(value, dict)}
    if "origin" not in about and about.get("sha256"):  # how version 0.1 wrote it: of the weights alone
        found["files"] = {file: str(about["sha256"]) for file in OLD_WEIGHTS if (folder / file).is_file()}
    return Record(str(about.get("name", "")), _origin(about), **found)


def fetched_as(folder: Path) -> str:
    """The name that a model was fetched by; that of its folder where it says none, or is damaged."""
    try:
        return read_record(folder).name or folder.name
    except UserError:
        return folder.name


def _origin(about: Mapping[str, Any]) -> Origin:
    kind, source, sha256 = about.get("origin"), str(about.get("source", "")), str(about.get("sha256", ""))
    if kind in (PUBLISHED, OWN, STAND_IN):
        return Origin(kind, source, sha256)
    if about.get("stand_in") is False:  # how version 0.1 wrote it
        return Origin(PUBLISHED, source)
    made_here = source.startswith("mmcoa")
    return Origin(STAND_IN, source) if made_here else Origin(OWN, source, sha256)
