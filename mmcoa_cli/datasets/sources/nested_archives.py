"""Archives within a folder or another archive: their files, where unpacking would put them."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import PurePosixPath
from typing import IO

from store.errors import UserError

from ..files import ARCHIVES, Files, is_image, joined, require_few, visible, without_ending
from ..samples import SPLITS, split_in_name

MAX_DEPTH = 3  # archives within archives
_LABELS = (".cls", ".json", ".txt")  # of a webdataset's sample


@contextmanager
def expanded(files: Files, *, depth: int = MAX_DEPTH) -> Iterator[Files]:
    """`files` with the content of the archives among them in their place. Beside folders of images only shards are
    opened: other archives are copies of the images, or none of the dataset."""
    inner = [path for path in files.sizes if path.lower().endswith(ARCHIVES)]
    if not inner or depth == 0 or files.inner is None:
        yield files
        return
    if any("/" in path and is_image(path) for path in files.sizes) and not (inner := _shards(files, inner)):
        yield files
        return
    with ExitStack() as stack:
        opened_here = frozenset(inner)
        places = {path: (files, path) for path in files.sizes if path not in opened_here}
        shards, left_out = set(), [files.left_out]
        for path in inner:
            part = stack.enter_context(expanded(stack.enter_context(files.inner(path)), depth=depth - 1))
            folder = without_ending(path) if is_shard(part) else _place(path, part)
            if is_shard(part):
                shards.add(folder)
            for name in part.sizes:
                places[_free(f"{folder}/{name}".lstrip("/"), places, path)] = part, name
            shards.update(f"{folder}/{shard}".strip("/") for shard in part.shards)
            left_out.append({reason: tuple(f"{path}/{p}" for p in paths) for reason, paths in part.left_out.items()})
            require_few(len(places), files.title)
        sizes, _ = visible({path: part.sizes[name] for path, (part, name) in places.items()})

        def opened(path: str) -> IO[bytes]:
            part, name = places[path]
            return part.open(name)

        yield Files(files.title, sizes, opened, left_out=joined(*left_out), shards=frozenset(shards))


def is_shard(files: Files) -> bool:
    """Whether an archive holds the samples of a webdataset: images whose labels or captions are files beside them."""
    own = {sample_key(path) for path in files.sizes if is_image(path)}
    return any(
        path.lower().endswith(_LABELS)
        and ("/" not in path or path.lower().endswith(".cls"))
        and sample_key(path) in own
        for path in files.sizes
    )


def sample_key(path: str) -> str:
    """A path up to the first dot of the file's name: what the files of one sample share."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _shards(files: Files, archives: list[str]) -> list[str]:
    """Those of `archives` that hold samples, unless samples lie unpacked beside them."""
    if files.inner is None or any(path.lower().endswith(".cls") for path in files.sizes):
        return []
    found = []
    for path in archives:
        with suppress(UserError), files.inner(path) as part:  # one that cannot be read stays closed like the others
            if is_shard(part):
                found.append(path)
    return found


def _place(path: str, part: Files) -> str:
    """Where the files of an archive that is no shard go: beside it, as unpacking has it, or into a folder of the split
    that its name says and its folders do not."""
    beside, _, name = without_ending(path).rpartition("/")
    if any(inside.split("/")[0].lower() in SPLITS for inside in part.sizes):
        return beside
    return f"{beside}/{split_in_name(name) or ''}".strip("/")


def _free(place: str, taken: Container[str], archive: str) -> str:
    """`place`, or one in a folder of the archive's name beside it, where that is taken: a class stays the class."""
    folder, own = PurePosixPath(place).parent, without_ending(archive.rpartition("/")[2])
    while place in taken:
        folder = folder / own
        place = str(folder / PurePosixPath(place).name)
    return place
