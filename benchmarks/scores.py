"""How fast draws are scored, beside a naive loop: `python benchmarks/scores.py` prints a table.

191 countries, 12 months, 1000 draws, made by a seed; the naive loop is timed on fewer cells and scaled up.
"""

import math
import time
from collections.abc import Callable
from itertools import product

import numpy as np

from riskmodel import scoring

COUNTRIES, MONTHS, DRAWS = 191, 12, 1000
SAMPLED = 4


def main() -> None:
    """Print seconds for each score, for the loop, and how many times faster the score is."""
    rng = np.random.default_rng(1)
    draws = np.rint(np.exp(rng.normal(2, 2, (COUNTRIES, MONTHS, DRAWS)))).astype(np.float32)
    came = draws[:, :, 0].astype(np.float64)
    scores: dict[str, tuple[Callable[..., object], Callable[[list[float], float], float]]] = {
        "CRPS": (scoring.crps, crps),
        "log-CRPS": (scoring.log_crps, lambda x, y: crps([math.log1p(a) for a in x], math.log1p(y))),
        "IGN": (scoring.ignorance, ignorance),
        "MIS": (scoring.interval_score, interval_score),
    }
    print(f"{COUNTRIES} countries, {MONTHS} months, {DRAWS} draws")
    print(f"{'score':<10}{'seconds':>10}{'loop':>10}{'times':>8}")
    for name, (score, loop) in scores.items():
        fast = seconds(lambda score=score: score(draws, came))
        cells = list(np.ndindex(came.shape))[:SAMPLED]
        slow = seconds(lambda loop=loop, cells=cells: [loop(draws[at].tolist(), came[at]) for at in cells])
        slow *= came.size / SAMPLED
        print(f"{name:<10}{fast:>10.3f}{slow:>10.1f}{slow / fast:>8.0f}")


def seconds(work: Callable[[], object]) -> float:
    """The shortest of three runs [s]."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def crps(x: list[float], y: float) -> float:
    """CRPS by its definition, all pairs."""
    return sum(abs(a - y) for a in x) / len(x) - sum(abs(a - b) for a, b in product(x, x)) / len(x) ** 2 / 2


def ignorance(x: list[float], y: float) -> float:
    """Ignorance score by counting."""
    floors = scoring.BIN_FLOORS.tolist()
    share = sum(sum(a >= floor for floor in floors) == sum(y >= floor for floor in floors) for a in x) / len(x)
    return -math.log2((1000 * share + 1) / 1011)


def interval_score(x: list[float], y: float) -> float:
    """Score of the 90 % interval, its bounds by interpolation between sorted draws."""
    ordered = sorted(x)
    bounds = []
    for q in (0.05, 0.95):
        place = q * (len(x) - 1)
        below = int(place)
        bounds.append(ordered[below] + (place - below) * (ordered[below + 1] - ordered[below]))
    lower, upper = bounds
    return upper - lower + 20 * max(lower - y, 0) + 20 * max(y - upper, 0)


if __name__ == "__main__":
    main()
