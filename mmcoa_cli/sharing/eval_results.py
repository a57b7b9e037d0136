"""Results in the hub's own form: a file of `.eval_results/` each (https://huggingface.co/docs/hub/eval-results).

The hub shows them beside a dataset that it has, under a task that the dataset declares. So only results on whole test
sets of the hub's datasets are told; a task is named by metric and attack, so that no robust accuracy is taken for a
clean one, and each variant has a file, as the hub wants it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import catalog
from ..names import store_name
from ..reports.rows import Row
from ..reports.threats import in_words
from ..reports.wording import part_of, setting

FOLDER, OURS = ".eval_results", "mmcoa-"  # and what the names of our files in it begin with


def eval_results(rows: Sequence[Row]) -> dict[str, str]:
    """Their files, by name: YAML."""
    from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]

    found: dict[str, str] = {}
    for row in rows:
        repository = hub_dataset(row.dataset)
        if not repository or row.limit is not None or row.part or row.partial:
            continue
        place = f"{FOLDER}/{OURS}{store_name(row.dataset)}-{_task(row)}"
        again = sum(name.startswith(f"{place}.") for name in found)
        found[f"{place}{f'.{again + 1}' if again else ''}.yaml"] = yaml_dump([_entry(row, repository)], sort_keys=False)
    return found


def hub_dataset(name: str) -> str:
    """The hub's repository of a dataset of the catalog; empty where it has none."""
    row = catalog.datasets().get(name)
    return next((source.repository for source in row.sources if source.repository), "") if row else ""


def _task(row: Row) -> str:
    """ "clean_accuracy", "robust_accuracy_image"."""
    return row.metric if row.metric.startswith("clean_") else f"{row.metric}_{row.attack}"


def _entry(row: Row, repository: str) -> dict[str, Any]:
    low, high = row.ci95
    told = f"percent; 95% interval {100 * low:.2f} to {100 * high:.2f}, n = {row.n}; {under(row)}"
    return {
        "dataset": {"id": repository, "task_id": _task(row)},
        "value": round(100 * row.value, 2),
        "date": row.created_at,
        "evaluation_framework": "mmcoa",
        "notes": told,
    }


def under(row: Row) -> str:
    """ "image attack: L-inf, eps 1/255, alpha 1/255, 100 steps, on 8 x 8 pixels; seed 0"."""
    part = part_of(row)
    told = [
        *(in_words([row], sized=True) or ["no attack"]),
        *(["a class-balanced subset of the test images"] if row.limit is not None else []),
        *([f"a part of the dataset, {part}"] if part else []),
        *setting([row]),
    ]
    return "; ".join(told)
