"""What nearly every part of the service works with: a home, its settings, its store and a clock."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from riskmodel.home import Home
from service.settings import Settings
from service.store.database import Store


@dataclass(frozen=True)
class Context:
    """A home with its settings and its store; `clock` returns the present in UTC."""

    home: Home
    settings: Settings
    store: Store
    clock: Callable[[], datetime]
