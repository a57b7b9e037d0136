"""Which datasets take part: those of the paper that the catalog or the store knows, and with `quick` those that are
here; and, in words, which do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.errors import UserError

from .. import catalog, tasks
from ..catalog import DatasetRow, TableRow
from ..datasets.library import dataset_path, registered_datasets
from ..settings import Home
from .request import Request, Scale

if TYPE_CHECKING:
    from store.dataset_info import DatasetInfo


@dataclass(frozen=True)
class Data:
    """A dataset as far as a plan needs to know it. `train` and `test` are numbers of images."""

    name: str
    classes: int
    train: int
    test: int
    here: bool
    bytes: int = 0  # of its download
    part: str = ""  # what the store has of it, where that is not the whole
    pixel_size: int = 224  # of the images that are attacked
    captions: bool = False  # instead of classes


@dataclass(frozen=True)
class Selection:
    """What of a table is trained on and tested on; `tested` is empty where each source is tested on itself, and where
    there is nothing to test on."""

    table: TableRow
    sources: tuple[Data, ...]
    tested: tuple[Data, ...] = ()
    left_out: tuple[str, ...] = ()
    away: tuple[str, ...] = ()  # datasets that it would have, and that are not in the store
    unknown: tuple[str, ...] = ()  # ... and not in the catalog

    @property
    def datasets(self) -> tuple[Data, ...]:
        return tuple(dict.fromkeys((*self.sources, *self.tested)))

    def narrowed(self, scale: Scale, attacks: Sequence[str]) -> TableRow:
        """The table over these datasets and the shots that `scale` allows, its attacks in this order."""
        tested = {} if self.table.on_source else {"dataset": [data.name for data in self.tested]}
        shown = [name for name in attacks if name in self.table.attacks]
        shots, sources = scale.shots_of(self.table), [data.name for data in self.sources]
        return self.table.narrowed(source=sources, shots=shots, attack=shown, **tested)


def select(table: TableRow, order: Request, home: Home) -> Selection:
    """Choose. Raises UserError where nothing is left to train on."""
    wanted = list(dict.fromkeys((*table.sources, *table.tested_on)))
    known = {name: data for name in [*wanted, *filter(None, [order.source])] if (data := look_up(name, home))}
    usable = {name: data for name, data in known.items() if data.here or order.preset == "paper"}
    captions = tasks.lookup(table.tested_in).captions
    if captions and order.preset == "quick":  # the table names one dataset to train on, and one of captions
        usable |= {name: data for name in registered_datasets(home) if (data := look_up(name, home))}
    if order.preset == "quick" and not any(data.train for data in usable.values()):
        usable |= _of_the_catalog(home)
    if order.source and not (order.source in usable and usable[order.source].train):
        raise _no_source(order.source, known)
    papers = [name for name in table.sources if name in usable and usable[name].train]
    own = [order.source] if order.source else papers or [_instead(usable, table, order.preset)]
    sources = [usable[name] for name in own]
    tested = [usable[name] for name in table.tested_on if name in usable]
    if table.tested_on and not captions:
        tested += [data for data in sources if data not in tested]
    if captions:
        tested = tested or [data for data in usable.values() if data.captions][:1]
    tested = [data for data in tested if data.test]
    left_out = _otherwise([*sources, *tested], own, table)
    away = [name for name in wanted if name in known and name not in usable]
    unknown = [name for name in wanted if name not in known]
    return Selection(table, tuple(sources), tuple(tested), tuple(left_out), tuple(away), tuple(unknown))


def _of_the_catalog(home: Home) -> dict[str, Data]:
    """The paper's datasets that are here: another table's will do where none of a table's own can be trained on."""
    names = [name for name, row in catalog.datasets().items() if not row.embedded]
    return {name: data for name in names if (data := look_up(name, home)) and data.here}


def _otherwise(chosen: Sequence[Data], own: Sequence[str], table: TableRow) -> Iterator[str]:
    """What is not as in the paper about what takes part."""
    if not set(own) <= set(table.sources):
        yield f"trained on {', '.join(own)} instead of {', '.join(table.sources)}"
    if table.tested_on and not {data.name for data in chosen} & set(table.tested_on):
        captions = tasks.lookup(table.tested_in).captions
        others = dict.fromkeys(data.name for data in chosen if data.test and data.captions == captions)
        yield f"tested on {', '.join(others) or 'nothing'} instead of {', '.join(table.tested_on)}"
    if parts := [f"{data.name}: {data.part}" for data in dict.fromkeys(chosen) if data.part]:
        yield f"only a part of {'; of '.join(parts)}"


def look_up(name: str, home: Home) -> Data | None:
    """From the store where it is there, else from the catalog; None where neither knows it."""
    from store.datasets import Dataset

    path, row = dataset_path(name, home), catalog.datasets().get(name)
    if path.exists():
        try:
            info = Dataset.info_of(path)
            return _data(info, here=True, part=_part(info))
        except UserError:
            pass  # damaged: as if it were not there
    return _data(row, here=row.embedded, size=row.bytes) if row else None


def _data(about: DatasetRow | DatasetInfo, *, here: bool, size: int = 0, part: str = "") -> Data:
    train, test = (about.splits.get(split, 0) for split in ("train", "test"))
    texts = len(about.class_names) or about.captions * test  # of which an attack on texts has to do each
    return Data(about.name, texts, train, test, here, size, part, about.pixel_size, bool(about.captions))


def _part(info: DatasetInfo) -> str:
    return ", ".join(part for split in ("train", "test") if split in info.splits and (part := info.part(split)))


def _instead(usable: Mapping[str, Data], table: TableRow, preset: str) -> str:
    """With `quick`, in place of what the paper trains on: what has the most classes of all in the table."""
    papers = ", ".join(table.sources)
    if preset == "paper":
        raise UserError(
            f"{table.name} is trained on {papers}, of which neither store nor catalog have training images",
            hint=f"mmcoa fetch {table.sources[0]} --from PATH, or --source DATASET, or --preset quick",
        )
    found = [data for data in usable.values() if data.train and not data.captions]
    if not found:
        raise UserError(
            f"no dataset of {table.name} is in the store",
            hint="mmcoa fetch cifar10, or name one that is there: --source DATASET",
        )
    return max(found, key=lambda data: (data.classes, data.train)).name


def _no_source(name: str, known: Mapping[str, Data]) -> UserError:
    if name not in known:
        return UserError(f"there is no dataset called {name!r}", hint="mmcoa fetch --list shows what there is")
    if not known[name].train:
        return UserError(f"{name} has no training images", hint="mmcoa fetch --list shows what others have")
    return UserError(f"the dataset {name} is not in the store", hint=f"mmcoa fetch {name}")


def missing(chosen: Iterable[Selection]) -> Iterator[str]:
    """The datasets that take part in no table that would have them, each once."""
    away, unknown = (
        dict.fromkeys(name for one in chosen for name in getattr(one, kind)) for kind in ("away", "unknown")
    )
    if away:
        yield f"not in the store: {', '.join(away)} (mmcoa fetch NAME brings one)"
    if unknown:
        yield f"not in the catalog: {', '.join(unknown)} (mmcoa fetch NAME --from PATH brings one)"
