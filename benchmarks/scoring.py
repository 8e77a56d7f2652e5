"""Measure how fast draws are scored, against naive loops over the same draws.

`python benchmarks/scoring.py [--countries 191]` prints seconds for 12 months of 1000 draws per country. The loops are
timed on four cells and scaled up.
"""

import argparse
import math
import time
from collections.abc import Callable
from itertools import product

import numpy as np

from riskmodel import scoring

COUNTRIES, MONTHS, DRAWS = 191, 12, 1000
CELLS_TIMED = 4
"""How many cells the naive loops are timed on."""


def main() -> None:
    """Print the seconds of each score and of its loop, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--countries", type=int, default=COUNTRIES)
    countries = parser.parse_args().countries
    rng = np.random.default_rng(1)
    draws = np.rint(np.exp(rng.normal(2, 2, (countries, MONTHS, DRAWS)))).astype(np.float32)
    observed = draws[:, :, 0].astype(np.float64)
    scores: dict[str, tuple[Callable[..., object], Callable[[list[float], float], float]]] = {
        "CRPS": (scoring.crps, naive_crps),
        "log-CRPS": (scoring.log_crps, lambda x, y: naive_crps([math.log1p(a) for a in x], math.log1p(y))),
        "IGN": (scoring.ignorance, naive_ignorance),
        "MIS": (scoring.interval_score, naive_interval_score),
    }
    print(f"{countries} countries, {MONTHS} months, {DRAWS} draws")
    print(f"{'score':<10}{'seconds':>10}{'loop':>10}{'ratio':>8}")
    cells = list(np.ndindex(observed.shape))[:CELLS_TIMED]
    for name, (score, loop) in scores.items():
        ours = shortest(lambda score=score: score(draws, observed))
        naive = shortest(lambda loop=loop: [loop(draws[cell].tolist(), observed[cell]) for cell in cells])
        naive *= observed.size / len(cells)
        print(f"{name:<10}{ours:>10.3f}{naive:>10.1f}{naive / ours:>8.0f}")


def shortest(work: Callable[[], object]) -> float:
    """Return the shortest time of three runs [s]."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def naive_crps(x: list[float], y: float) -> float:
    """CRPS by its definition, over all pairs of draws."""
    return sum(abs(a - y) for a in x) / len(x) - sum(abs(a - b) for a, b in product(x, x)) / len(x) ** 2 / 2


def naive_ignorance(x: list[float], y: float) -> float:
    """Ignorance score by counting draws in the bin of the outcome."""
    floors = scoring.BIN_FLOORS.tolist()
    share = sum(sum(a >= floor for floor in floors) == sum(y >= floor for floor in floors) for a in x) / len(x)
    return -math.log2((1000 * share + 1) / 1011)


def naive_interval_score(x: list[float], y: float) -> float:
    """Score of the 90 % interval; its bounds are interpolated between sorted draws."""
    ordered = sorted(x)
    bounds = []
    for q in (0.05, 0.95):
        position = q * (len(x) - 1)
        below = int(position)
        bounds.append(ordered[below] + (position - below) * (ordered[below + 1] - ordered[below]))
    lower, upper = bounds
    return upper - lower + 20 * max(lower - y, 0) + 20 * max(y - upper, 0)


if __name__ == "__main__":
    main()
