"""What the commands of the service share: the region, and the settings that they run with."""

import os
from typing import TYPE_CHECKING

import click

from riskmodel.cli import options
from riskmodel.home import Home

if TYPE_CHECKING:
    from service.settings import Settings
    from service.store.context import Context

REGION = click.option("--region", type=options.ISO3, help="The focal country of the region (default: as set, MLI).")


def settings_of(home: Home, region: str | None = None) -> "Settings":
    """The settings of a home; a region chosen here is handed on to the processes that are started."""
    from service.settings import load

    if region:
        os.environ["VIGIE_REGION"] = region
    return load(home)


def open_context(home: Home, region: str | None = None) -> "Context":
    """Open the database of a home, and return it with the home's settings."""
    from service.store.context import Context
    from service.store.database import Store

    return Context(home, settings_of(home, region), Store.of(home))
