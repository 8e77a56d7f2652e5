"""Delays between the attempts of a delivery: 30 s, then three times longer each time, at most 8 h, each ± 20 %.

The 16 attempts spread over about three days: a receiver that fails on Friday evening still gets its messages on Monday.
The random part keeps the messages of a receiver that comes back from arriving all at once. A receiver that asks to wait
longer (`Retry-After`) is waited for, at most 8 h.
"""

import random
from datetime import timedelta

MAX_ATTEMPTS = 16

FIRST_DELAY = timedelta(seconds=30)
FACTOR = 3
LONGEST_DELAY = timedelta(hours=8)
JITTER = 0.2
LONGEST_PAUSE = LONGEST_DELAY * (1 + JITTER)


def retry_delay(attempts: int, rng: random.Random) -> timedelta:
    """Return how long to wait after this number of failed attempts."""
    return _delay(attempts) * rng.uniform(1 - JITTER, 1 + JITTER)


def pause(retry_after: timedelta, rng: random.Random) -> timedelta:
    """Return how long to leave a receiver alone that asked to wait: at least as long, but at most `LONGEST_PAUSE`."""
    return min(retry_after, LONGEST_DELAY) * rng.uniform(1, 1 + JITTER)


def longest_delay(attempts: int) -> timedelta:
    """Return the longest delay that `retry_delay` can return after this number of failed attempts."""
    return _delay(attempts) * (1 + JITTER)


def _delay(attempts: int) -> timedelta:
    delay: timedelta = min(FIRST_DELAY * FACTOR ** max(0, attempts - 1), LONGEST_DELAY)
    return delay
