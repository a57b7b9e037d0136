"""Retrieval by rank: how many items stand above a query's best own one, how many beside it, and what that counts.

Scores are computed a block of queries at a time, in double precision, and counted there: the whole matrix is never
held. Equal items are one column of the product, so that they tie exactly rather than up to rounding.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

BLOCK = 256  # queries

Ints = npt.NDArray[np.int64]


def distinct_rows(features: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], Ints]:
    """The different rows of (n, D), and which of them each row is."""
    rows = np.ascontiguousarray(features)
    _, first, numbers = np.unique(
        rows.view(np.dtype((np.void, rows[0].nbytes)))[:, 0], return_index=True, return_inverse=True
    )
    return rows[first], numbers.astype(np.int64)


def ranks(queries: Tensor, items: Tensor, numbers: Ints, query: Ints, item: Ints) -> dict[str, Ints]:
    """For each of (n, D) `queries`, over the M items that `numbers` names among (U, D) different ones:

    `above`: how many score more than its best own item; `ties`: how many as much, itself among them; `own`: how many of
    these are its own. Own items are pairs (`query`, `item`), in the order of the queries, and each query has one.
    """
    device = queries.device if queries.device.type == "cuda" else torch.device("cpu")  # others lack double precision
    queries, items = queries.double().to(device), items.double().to(device)
    names = torch.from_numpy(numbers).to(device)
    count = torch.bincount(names, minlength=len(items)).double()
    found: dict[str, list[Tensor]] = {"above": [], "ties": [], "own": []}
    for start in range(0, len(queries), BLOCK):
        scores = queries[start : start + BLOCK] @ items.T
        first, last = np.searchsorted(query, [start, start + len(scores)])
        rows = torch.from_numpy(query[first:last] - start).to(device)
        own = scores[rows, names[torch.from_numpy(item[first:last]).to(device)]]
        best = torch.full((len(scores),), -torch.inf, dtype=own.dtype, device=device)
        best = best.scatter_reduce(0, rows, own, "amax")
        found["above"].append((scores > best[:, None]).double() @ count)
        found["ties"].append((scores == best[:, None]).double() @ count)
        found["own"].append(torch.zeros_like(best).index_add(0, rows, (own == best[rows]).double()))
    return {name: torch.cat(parts).round().long().cpu().numpy() for name, parts in found.items()}
