"""The settings and the database that a command works with."""

import os
from typing import TYPE_CHECKING

from riskmodel.home import Home

if TYPE_CHECKING:
    from service.settings import Settings
    from service.store.context import Context


def settings_of(home: Home, region: str | None = None) -> "Settings":
    """Return the settings of a home. A region that differs from the settings is passed on to child processes."""
    from service.settings import load

    settings = load(home)
    if region in (None, settings.region):
        return settings
    os.environ["VIGIE_REGION"] = region
    return load(home)


def open_context(home: Home, region: str | None = None) -> "Context":
    """Open the database of a home, and return it with the home's settings."""
    from service.store.context import Context
    from service.store.database import Store

    return Context(home, settings_of(home, region), Store.of(home))
