"""How quiet the machine was: the same piece of work timed again and again between the runs."""

from __future__ import annotations

import hashlib
import os
import time

from bench.figures import spread

BLOCK = bytes(64 * 1024)


def timed_work() -> float:
    """Seconds that a fixed amount of hashing takes, about 20 ms on a quiet core."""
    began = time.perf_counter()
    digest = hashlib.sha256()
    for _ in range(400):
        digest.update(BLOCK)
    digest.digest()
    return time.perf_counter() - began


class Noise:
    """Samples taken between the runs, while nothing of ours is under load."""

    def __init__(self) -> None:
        self.samples: list[float] = []
        self.load_before = os.getloadavg()[0]

    def sample(self) -> None:
        self.samples.extend(timed_work() for _ in range(3))

    def summary(self) -> dict[str, float | int]:
        """Spread of the samples, and the load average the machine had before the first run."""
        return {
            "spread": round(spread(self.samples), 3),
            "samples": len(self.samples),
            "load_before": round(self.load_before, 2),
            "cores": os.cpu_count() or 1,
        }
