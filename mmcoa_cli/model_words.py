"""What `fetch` says of a model, in a few lines: what it was understood to be, and where it is from."""

from __future__ import annotations

from .origins import OWN, STAND_IN, Origin, Record


def lines(record: Record) -> list[str]:
    """Architecture, sizes and activation (and who says so); origin, licence and digest; what was taken of the file."""
    known = record.understood
    if not known:
        return [origin_in_words(record.origin)]
    told = [f"{known.get('architecture')}; {known.get('parameters', 0):,} parameters"]
    if "activation" in known:
        side, guess = known.get("image_size"), "" if "guess" not in str(known["activation"]) else GUESS
        told.append(f"images of {side} x {side} pixels, texts of {known.get('context_length')} tokens")
        told.append(f"activation {known['activation']}, said by {known.get('activation_from')}{guess}")
    told.append(f"{origin_in_words(record.origin)}; licence unknown; digest {str(known.get('digest', ''))[:12]}")
    return told + ([f"taken: {known['taken']}"] if "taken" in known else [])


def origin_in_words(origin: Origin) -> str:
    """Where a model is from."""
    if origin.kind == OWN:
        return f"own weights of {origin.source or 'this machine'}" + (
            f", sha256 {origin.sha256}" if origin.sha256 else ""
        )
    if origin.kind == STAND_IN:
        return f"a stand-in, made by {origin.source or 'mmcoa'}"
    return f"published: {origin.source}"


GUESS = " (OpenAI's own weights and those tuned from them need QuickGELU: --arch ARCH:openai)"
