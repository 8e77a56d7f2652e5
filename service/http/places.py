"""Places that clients hold for a while: a limit in total, and for each client."""

from collections import Counter

from service.http.message import Admission


class Places:
    """A number of places. All methods run in the event loop."""

    def __init__(self, total: int, each: int) -> None:
        """`total` is the number of places, `each` how many one client can have."""
        self._total, self._each = total, each
        self._taken: Counter[str] = Counter()
        self._count = 0

    def take(self, admission: Admission) -> bool:
        """Take a place. Return False if there is none for this client."""
        if self._count >= self._total:
            return False
        if not admission.unlimited:
            if self._taken[admission.client] >= self._each:
                return False
            self._taken[admission.client] += 1
        self._count += 1
        return True

    def release(self, admission: Admission) -> None:
        """Give a place back."""
        self._count -= 1
        if not admission.unlimited:
            self._taken[admission.client] -= 1
            if not self._taken[admission.client]:
                del self._taken[admission.client]
