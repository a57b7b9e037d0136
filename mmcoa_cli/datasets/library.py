"""The datasets in the store: where each lies, and opening it. Importing this module imports nothing of what fetches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from store.errors import UserError

from .. import catalog
from ..names import meant, store_name
from ..other_kinds import DATASET, of_another_kind
from ..settings import Home

if TYPE_CHECKING:
    from store.datasets import Dataset

ORDER = ("train", "val", "test")  # of splits
BROKEN = "images that cannot be used"  # why files are left out of a dataset


def dataset_path(name: str, home: Home) -> Path:
    """The file that holds, or would hold, the dataset."""
    return home.datasets / f"{store_name(name)}.h5"


def registered_datasets(home: Home) -> list[str]:
    """The file names, without ending, of the datasets that are in the store."""
    return sorted(path.stem for path in home.datasets.glob("[!.]*.h5"))


def is_stored(name: str, home: Home) -> bool:
    """Whether the dataset is in the store, and not another whose name has the same place there ("x犬" and "x猫")."""
    from store.datasets import Dataset

    path = dataset_path(name, home)
    return path.exists() and (name == path.stem or Dataset.info_of(path).name == name)


def open_dataset(name: str, home: Home) -> Dataset:
    """The dataset `name`, from the store; an embedded one is made when it is not there yet.

    Raises UserError, with what to type, when it is neither.
    """
    from store.datasets import Dataset

    path = dataset_path(name, home)
    if not is_stored(name, home):
        row = catalog.datasets().get(name)
        if row is None or not row.embedded:
            raise absent(name, home)
        from .fetching import fetch_dataset

        fetch_dataset(name, home)
    return Dataset.open(path)


def open_for(name: str, home: Home, *, captions: bool) -> Dataset:
    """`open_dataset` for work that needs captions, or classes. Raises UserError for a dataset of the other kind."""
    dataset = open_dataset(name, home)
    if bool(dataset.info.captions) == captions:
        return dataset
    dataset.close()
    raise other_kind(name, captions=captions)


def other_kind(name: str, *, captions: bool) -> UserError:
    """The error for a dataset that has classes where `captions` are needed, or the other way round."""
    if captions:
        return UserError(f"{name} has classes and no captions", hint="mscoco has captions; classes take no --task")
    return UserError(
        f"{name} has captions and no classes to train on or to test", hint="evaluate it with --task retrieval"
    )


def open_classes(name: str, home: Home) -> Dataset:
    """`open_dataset` for work that needs classes. Raises UserError for a dataset of captions."""
    return open_for(name, home, captions=False)


def attacked_at(dataset: Dataset, size: int | None) -> Dataset:
    """`dataset`, its images attacked at `size` pixels instead of its own size: after Resize(size * 256/224) and
    CenterCrop(size), as images of varying size are at 224; after Resize(size) where the dataset's own crop keeps the
    whole of the shorter side. What is given stays as it is."""
    info = dataset.info
    if size is None or size == info.pixel_size:
        return dataset
    resize = size if info.resize == info.pixel_size else round(size * 256 / 224)
    return dataset.attacked_at(size, resize=None if size == info.image_size else resize)


def absent(name: str, home: Home) -> UserError:
    """The error for a dataset that is not in the store: what to type, or which name may be meant."""
    if name in catalog.datasets():
        return UserError(f"the dataset {name} is not in the store", hint=f"mmcoa fetch {name}")
    alike = meant(name, [*catalog.datasets(), *registered_datasets(home)])
    own = f"a dataset of your own: mmcoa fetch {store_name(name)} --from PATH"  # a run from elsewhere may need it
    hint = of_another_kind(name, home, asked=(DATASET,)) or f"{alike} {own}".strip()
    return UserError(f"there is no dataset called {name!r}", hint=hint)
