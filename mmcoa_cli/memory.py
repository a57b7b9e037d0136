"""The machine's memory, of which a container or a job of a cluster may use a part: its control group (cgroup) says so,
and psutil does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MOUNTED, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")  # of version 2, and the last of version 1
USED = ("memory.current", "memory.usage_in_bytes")
CACHE = ("inactive_file", "active_file")  # what lies on disk too, and goes where the room is needed


def available() -> int:
    """Bytes that this process may still take."""
    import psutil  # type: ignore[import-untyped]

    return min([int(psutil.virtual_memory().available), *(max(0, limit - used) for limit, used in groups())])


def installed() -> int:
    """Bytes that there are for it in all."""
    import psutil

    return min([int(psutil.virtual_memory().total), *(limit for limit, _ in groups())])


def groups(mounted: Path = MOUNTED, own: Path = OWN) -> Iterator[tuple[int, int]]:
    """The limit of each group that this process is in, and what is used of it. None without a limit, and none where the
    system has no groups."""
    for folder in _folders(mounted, own):
        limits, used = [_number(folder / name) for name in LIMITS], [_number(folder / name) for name in USED]
        if known := [limit for limit in limits if limit is not None]:
            yield min(known), max(0, max(one or 0 for one in used) - _cache(folder))


def _folders(mounted: Path, own: Path) -> Iterator[Path]:
    """The folder of its group and of each that this is in. A container sees its own group as the outermost one, by
    whatever name that goes outside."""
    try:
        lines = own.read_text(encoding="utf8").splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, name = line.split(":", 2)
        if kinds in ("", "memory"):
            outermost = mounted / kinds
            group = outermost / name.strip("/")
            yield from [group, *(above for above in group.parents if above.is_relative_to(outermost))]


def _number(file: Path) -> int | None:
    """What stands in a file; None where that is not there, or says "max"."""
    try:
        return int(file.read_text(encoding="utf8"))
    except (OSError, ValueError):
        return None


def _cache(folder: Path) -> int:
    try:
        lines = (folder / "memory.stat").read_text(encoding="utf8").splitlines()
        found = {name: int(count) for name, count in map(str.split, lines)}
    except (OSError, ValueError):
        return 0
    # version 1 counts the groups within apart
    return sum(found.get(f"total_{name}", found.get(name, 0)) for name in CACHE)
