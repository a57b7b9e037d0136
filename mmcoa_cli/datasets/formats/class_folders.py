"""How the folders of one's own images are understood: which are splits, which are classes.

The class is the outermost folder below the split. A folder is a split only where what lies directly in it are folders:
a class may be called `train`. What can be read in two ways is refused, with what was seen.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from store.errors import UserError

from ..samples import SPLITS

BESIDE = "beside the class folders"
OUTSIDE = "outside the split folders"
FEW = 3  # images beside the classes that are a logo and the like; more, and more than a hundredth, are refused
MAX_DEPTH = 100  # folders within folders
LAYOUT = "it takes train/<class>/<image> and test/<class>/<image>, or <class>/<image>"
_NO_CLASSES = {  # where others lie beside them
    "images", "image", "imgs", "img", "jpegimages", "masks", "labels", "annotations", "ground_truth", "groundtruth",
    "segmentations", "segmentation",
}  # fmt: skip


@dataclass
class Folder:
    """A folder with images in or below it: how many lie directly in it, one of all, and the folders."""

    direct: int = 0
    example: str = ""
    folders: dict[str, Folder] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return self.direct + sum(folder.count for folder in self.folders.values())

    @property
    def holds_folders(self) -> bool:
        """Whether there is nothing but folders in it."""
        return bool(self.folders) and not self.direct


@dataclass(frozen=True)
class Places:
    """The classes lie below `above`, in the folders of `splits` (folder -> split; none where there are no splits)."""

    above: tuple[str, ...]
    splits: Mapping[str, str]

    def of(self, path: str) -> tuple[str, str] | None:
        """Split and class of an image, None where it has none."""
        folders = path.split("/")[:-1]
        depth = len(self.above)
        if tuple(folders[:depth]) != self.above or len(folders) < depth + 1 + bool(self.splits):
            return None
        if not self.splits:
            return "test", _composed(folders[depth])
        split = self.splits.get(folders[depth])
        return None if split is None else (split, _composed(folders[depth + 1]))


def find_classes(images: Iterable[str], *, title: str) -> Places:
    """Where the classes of these images lie. Raises UserError where that is not clear."""
    node, loose = _tree(images, title=title), 0
    above: tuple[str, ...] = ()
    if not node.count:
        raise UserError(f"{title} holds no images in folders of classes, nor others", hint=LAYOUT)
    while True:
        loose += node.direct
        named = {name: folder for name, folder in node.folders.items() if name.lower() in SPLITS}
        splits = {name: folder for name, folder in named.items() if folder.holds_folders}
        if splits and not _is_wrapper(node, splits):
            _require_splits(node, splits, title=title)
            _require_classes([c for split in splits.values() for c in split.folders.items()], title=title)
            _require_few_loose(node, above, loose, title=title)
            return Places(above, {name: SPLITS[name.lower()] for name in splits})
        if len(node.folders) != 1 or (named and not splits):
            break
        ((name, node),) = node.folders.items()
        above = (*above, name)
    if not node.folders:
        raise _no_classes(node, above, title=title)
    _require_no_splits(node, title=title)
    _require_classes(list(node.folders.items()), title=title)
    _require_outermost(node, title=title)
    _require_few_loose(node, above, loose, title=title)
    return Places(above, {})


def _no_classes(node: Folder, above: Sequence[str], *, title: str) -> UserError:
    what = f"all of them lie in {'/'.join(above)}/" if above else "they lie in no folder"
    return UserError(f"{title} holds no images in folders of classes: {what} ({node.example})", hint=LAYOUT)


def _tree(images: Iterable[str], *, title: str) -> Folder:
    root = Folder()
    for path in images:
        node, folders = root, path.split("/")[:-1]
        if len(folders) > MAX_DEPTH:
            raise UserError(
                f"{title}: {path[:60]}... lies {len(folders)} folders deep", hint="is that the right folder?"
            )
        for part in folders:
            node = node.folders.setdefault(part, Folder(example=path))
        if not node.direct:
            node.example = path
        node.direct += 1
    return root


def _is_wrapper(node: Folder, splits: Mapping[str, Folder]) -> bool:
    """Whether the only folder, which is called like a split, holds the splits themselves."""
    ((_, folder), *others) = splits.items()
    inside = [name for name, below in folder.folders.items() if name.lower() in SPLITS and below.holds_folders]
    return not others and len(node.folders) == 1 and bool(inside)


def _require_splits(node: Folder, splits: Mapping[str, Folder], *, title: str) -> None:
    """Raises UserError where the folders beside the splits make it unclear that they are splits."""
    by_split: dict[str, str] = {}
    for name in splits:
        other = by_split.setdefault(SPLITS[name.lower()], name)
        if other != name:
            raise UserError(f"{title} has {other}/ beside {name}/: both are the same split", hint="put them into one")
    for name, folder in node.folders.items():
        if name in splits:
            continue
        if name.lower() in SPLITS:
            first = next(iter(splits.values()))
            raise UserError(
                f"{title}: {name}/ holds images itself ({folder.example}), unlike {first.example}", hint=LAYOUT
            )
        if len(by_split) < 2:
            (split,) = splits
            raise UserError(
                f"{title} has {split}/ beside {name}/: is it a split or a class?",
                hint="put all classes into a folder test/, or only train/, val/ and test/ beside each other",
            )


def _require_no_splits(node: Folder, *, title: str) -> None:
    """Raises UserError where the folders that would be classes have the names of splits."""
    said = {name: split for name in node.folders if (split := _like_a_split(name))}
    direct = [name for name in said if node.folders[name].direct]
    if len(node.folders) == 1 and direct:
        folder = node.folders[direct[0]]
        below = next(iter(folder.folders.values()), None)
        beside = f" beside folders ({below.example})" if below else ""
        raise UserError(
            f"{title} holds no images in folders of classes: {direct[0]}/ holds images ({folder.example}){beside}",
            hint=LAYOUT,
        )
    if len(set(said.values())) > 1 or (said and len(said) == len(node.folders)):
        what = ", ".join(f"{name}/ ({node.folders[name].example})" for name in list(said)[:3])
        raise UserError(
            f"{title} holds no images in folders of classes below a split, but {what}",
            hint=f"{LAYOUT}; classes of these names go into a folder test/",
        )


def _require_classes(classes: Sequence[tuple[str, Folder]], *, title: str) -> None:
    """Raises UserError for splits inside classes, and for classes whose images lie at different depths."""
    for name, folder in classes:
        inside = _split_inside(folder)
        if inside is not None:
            raise UserError(
                f"{title} has the folder {inside[0]}/ inside {name}/ ({inside[1].example}): which is the class?",
                hint="splits go above classes: train/<class>/<image>; or give --from the folder that holds the splits",
            )
    deep = next((folder for _, folder in classes if not folder.direct), None)
    flat = next((folder for _, folder in classes if folder.direct), None)
    if deep is not None and flat is not None:
        raise UserError(
            f"{title} has classes at different depths: {flat.example}, and {deep.example}",
            hint=f"{LAYOUT}; move the images so that each class folder holds its own",
        )
    for names in [list(dict.fromkeys(name for name, _ in classes)), *(list(folder.folders) for _, folder in classes)]:
        no_class = [name for name in names if name.lower() in _NO_CLASSES]
        if no_class and len(names) > 1:
            others = ", ".join([f"{name}/" for name in names if name != no_class[0]][:3])
            raise UserError(
                f"{title} has {no_class[0]}/ beside {others}: which of them hold the images of the classes?",
                hint=f"{LAYOUT}; give --from the folder that holds the classes, or move the others elsewhere",
            )


def _require_outermost(node: Folder, *, title: str) -> None:
    """Raises UserError where every folder holds the same folders: those may be the classes as well."""
    (first, below), *others = node.folders.items()
    names = set(below.folders)
    same = others and all(folder.holds_folders and set(folder.folders) == names for _, folder in others)
    if len(names) > 1 and same and not any(character.isdigit() for name in names for character in name):
        inside, outside = ", ".join(sorted(names)[:3]), ", ".join(sorted(node.folders)[:3])
        raise UserError(
            f"{title}: are the classes {outside}, or {inside}, which lie in each ({node.folders[first].example})?",
            hint="the outermost are, once they lie in a folder test/; else bring the inner ones together",
        )


def _split_inside(folder: Folder) -> tuple[str, Folder] | None:
    for name, below in folder.folders.items():
        if name.lower() in SPLITS:
            return name, below
        if (found := _split_inside(below)) is not None:
            return found
    return None


def _require_few_loose(node: Folder, above: Sequence[str], loose: int, *, title: str) -> None:
    inside = sum(folder.count for folder in node.folders.values())
    if loose > max(FEW, inside // 100):
        folder = next(iter(node.folders.values()))
        where = f"{'/'.join(above)}/" if above else "its top"
        raise UserError(
            f"{title} holds {loose:,} images beside the class folders ({where}), and others in them ({folder.example})",
            hint="move them into the folders of their classes, or elsewhere",
        )


def _like_a_split(name: str) -> str | None:
    words = [word.lower().removesuffix("set") for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]
    said = {SPLITS[word] for word in words if word in SPLITS}
    return said.pop() if len(said) == 1 else None


def _composed(name: str) -> str:
    """A folder's name as all systems write it: macOS takes letters and accents apart."""
    return unicodedata.normalize("NFC", name)
