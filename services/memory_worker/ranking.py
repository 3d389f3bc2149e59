"""One order out of several: reciprocal rank fusion (Cormack, Clarke, Büttcher, SIGIR 2009); pure."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

# The constant of the paper: it keeps the first of one list from outweighing what several lists agree on.
K = 60
Place = TypeVar("Place", bound=Hashable)


def fused(*orders: Sequence[Place]) -> dict[Place, float]:
    """The score of everything in these lists, each with the best first: the sum of 1 / (60 + rank) over the lists."""
    scores: dict[Place, float] = {}
    for order in orders:
        for rank, each in enumerate(order, start=1):
            scores[each] = scores.get(each, 0.0) + 1 / (K + rank)
    return scores
