"""What most parts of the service need to work: a home, its settings, its database and a clock."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

from riskmodel.home import Home
from service.settings import Settings
from service.store.database import Store


def utc_now() -> datetime:
    """Return the present, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Context:
    """A home with its settings and its database. `clock` returns the present in UTC."""

    home: Home
    settings: Settings
    store: Store
    clock: Callable[[], datetime] = utc_now

    def for_region(self, region: str) -> Self:
        """Return the same context for another region."""
        return replace(self, settings=self.settings.model_copy(update={"region": region}))
