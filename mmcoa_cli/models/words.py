"""What `fetch` says of a model, in a few lines: what it was understood to be, and where it is from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .origins import OWN, STAND_IN, Origin, Record

GUESS = " (OpenAI's own weights and those tuned from them need QuickGELU: --arch ARCH:openai)"


@dataclass(frozen=True)
class ModelSummary:
    """What the record of a model says of it."""

    record: Record

    def document(self) -> dict[str, Any]:
        """All of it, as `--json` prints it."""
        origin = self.record.origin
        return {"origin": origin.kind, "source": origin.source, "sha256": origin.sha256, **self.record.understood}

    def lines(self) -> Iterator[tuple[str, str]]:
        """Architecture, sizes and activation (and who says so); origin and digest; what was taken of the file."""
        known = self.record.understood
        if known:
            yield "model", f"{known.get('architecture')}; {known.get('parameters', 0):,} parameters"
        if "activation" in known:
            side, guess = known.get("image_size"), GUESS if "guess" in str(known["activation"]) else ""
            yield "input", f"images of {side} x {side} pixels, texts of {known.get('context_length')} tokens"
            yield "activation", f"{known['activation']}, said by {known.get('activation_from')}{guess}"
        yield "origin", f"{origin_in_words(self.record.origin)}; licence unknown"
        if known:
            yield "digest", str(known.get("digest", ""))[:12]
        if "taken" in known:
            yield "taken", str(known["taken"])


def origin_in_words(origin: Origin) -> str:
    """Where a model is from."""
    if origin.kind == OWN:
        return f"own weights of {origin.source or 'this machine'}" + (
            f", sha256 {origin.sha256}" if origin.sha256 else ""
        )
    if origin.kind == STAND_IN:
        return f"a stand-in, made by {origin.source or 'mmcoa'}"
    return f"published: {origin.source}"
