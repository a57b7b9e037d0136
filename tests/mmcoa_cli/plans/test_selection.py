"""Which datasets take part, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest

from mmcoa_cli import catalog
from mmcoa_cli.plans.request import PAPER, Request
from mmcoa_cli.plans.selection import Selection, look_up, missing, select
from mmcoa_cli.settings import Home
from store.dataset_writing import DatasetWriter
from store.errors import UserError


def add_dataset(home: Home, name: str, *, train: int = 4, test: int = 2) -> None:
    """A dataset of black images of 8 pixels and two classes."""
    import numpy as np

    writer = DatasetWriter(
        home.datasets / f"{name}.h5", name=name, class_names=["a", "b"], pixel_size=8, resize=None, template="a {}",
        source="here", image_size=8, expected=catalog.datasets()[name].splits if name in catalog.datasets() else {},
    )  # fmt: skip
    with writer as out:
        for split, count in (("train", train), ("test", test)):
            for i in range(count):
                out.add(split, np.zeros((8, 8, 3), np.uint8), i % 2)


def add_captions(home: Home, name: str) -> None:
    """The same with two captions an image, and no images to train on."""
    import numpy as np

    writer = DatasetWriter(
        home.datasets / f"{name}.h5", name=name, class_names=(), pixel_size=8, resize=None,
        template="", source="here", image_size=8,
    )  # fmt: skip
    with writer as out:
        for _ in range(3):
            out.add("test", np.zeros((8, 8, 3), np.uint8), captions=["one", "two"])


def chosen_of(name: str, home: Home, **options: Any) -> Selection:
    order = Request((name,), **options)
    return select(order.tables[0], order, home)


def test_the_store_knows_better_than_the_catalog(home: Home) -> None:
    add_dataset(home, "cifar10")
    found = look_up("cifar10", home)
    assert found and (found.classes, found.train, found.test, found.here) == (2, 4, 2, True)
    found = look_up("cifar100", home)
    assert found and (found.classes, found.train, found.test, found.here) == (
        100, 50_000, 10_000, False,
    )  # fmt: skip
    assert look_up("nowhere", home) is None


def test_quick_takes_what_is_here(home: Home) -> None:
    add_dataset(home, "stl10", train=6)
    add_dataset(home, "cifar10", train=4)
    chosen = chosen_of("table2", home, preset="quick")
    assert [data.name for data in chosen.sources] == ["stl10"]  # as many classes, more images
    assert [data.name for data in chosen.tested] == ["cifar10", "stl10"]
    said = "; ".join([*missing([chosen]), *chosen.left_out])
    assert said.startswith("not in the store: ") and [*missing([chosen, chosen])] == [*missing([chosen])]
    assert "trained on stl10 instead of imagenet" in said
    assert (
        "only a part of stl10: 6 of 5,000 train images, 2 of 8,000 test images; of cifar10: 4 of 50,000 train" in said
    )
    for name in ("cifar100", "food101", "caltech256", "imagenet"):
        assert name in said
    chosen = chosen_of("table1", home, preset="quick")
    assert [data.name for data in chosen.sources] == ["cifar10"] and not chosen.tested
    assert not any("instead" in line for line in chosen.left_out)


def test_a_source_of_ones_own_is_tested_too(home: Home) -> None:
    add_dataset(home, "cifar10")
    chosen = chosen_of("table3", home, preset="quick", source="digits")
    assert [data.name for data in chosen.sources] == ["digits"]
    assert [data.name for data in chosen.tested] == ["cifar10", "digits"]
    assert "trained on digits instead of imagenet" in chosen.left_out


def test_a_dataset_that_cannot_be_trained_on(home: Home) -> None:
    add_dataset(home, "imagenet", train=0)
    add_dataset(home, "cifar10")
    chosen = chosen_of("table2", home, preset="quick")
    assert [data.name for data in chosen.sources] == ["cifar10"]
    assert {data.name for data in chosen.tested} == {"imagenet", "cifar10"}


def test_the_papers_settings_take_what_can_be_fetched(home: Home) -> None:
    chosen = chosen_of("table1", home)
    assert {data.name for data in chosen.sources} >= {"cifar10", "cifar100"}
    assert not any(data.here for data in chosen.sources)


def test_quick_takes_another_tables_dataset_where_none_of_its_own_is_here(home: Home) -> None:
    add_dataset(home, "cifar10")
    chosen = chosen_of("table8-few", home, preset="quick")
    assert [data.name for data in chosen.sources] == ["cifar10"]
    assert "trained on cifar10 instead of imagenet" in chosen.left_out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "quick"}, "no dataset of table2 is in the store"),
        ({"preset": "quick", "source": "cifar10"}, "the dataset cifar10 is not in the store"),
        ({"source": "tests-only"}, "tests-only has no training images"),
        ({"source": "nowhere"}, "there is no dataset called 'nowhere'"),
    ],
)
def test_nothing_to_train_on(home: Home, options: dict[str, str], message: str) -> None:
    add_dataset(home, "tests-only", train=0)
    with pytest.raises(UserError, match=message) as error:
        chosen_of("table2", home, **options)
    assert "mmcoa fetch" in error.value.hint


def test_retrieval_is_tested_on_captions_alone(home: Home) -> None:
    chosen = chosen_of("table6", home)
    assert [data.name for data in (*chosen.sources, *chosen.tested)] == ["imagenet", "mscoco"]
    assert chosen.tested[0].captions and chosen.tested[0].classes == 25_000  # texts that an attack has to do
    assert {cell.dataset for cell in chosen.narrowed(PAPER, ("clean",)).cells()} == {"mscoco"}


def test_quick_takes_other_captions_that_are_here(home: Home) -> None:
    chosen = chosen_of("table6", home, preset="quick")
    assert chosen.tested == () and not chosen.narrowed(PAPER, ("clean",)).cells()
    assert "tested on nothing instead of mscoco" in chosen.left_out
    add_captions(home, "mine")
    chosen = chosen_of("table6", home, preset="quick")
    assert [data.name for data in (*chosen.sources, *chosen.tested)] == ["digits", "mine"]  # most classes of all here
    assert "tested on mine instead of mscoco" in chosen.left_out
    cells = chosen.narrowed(PAPER, ("clean", "co-attack")).cells()
    assert {(cell.source, cell.dataset, cell.task) for cell in cells} == {
        ("", "mine", "retrieval"), ("digits", "mine", "retrieval")
    }  # fmt: skip
