"""Open the archive for a command, and mark what comes from simulated data."""

from datetime import datetime
from typing import TYPE_CHECKING

from riskmodel.home import Home

if TYPE_CHECKING:
    from riskmodel.events.view import View


def open_view(home: Home, as_of: datetime | None = None) -> "View":
    """Open the archive as it is now, or as it was known at a past moment. Raises BadInput if it has no data."""
    from riskmodel.errors import BadInput
    from riskmodel.events.archive import Archive

    view = Archive(home.archive).view(as_of)
    if not view.ingests:
        state = f"had no data by {as_of:%Y-%m-%d}" if as_of else "is empty"
        raise BadInput(f"the archive {state}: load data with vigie ingest")
    return view


def realm_prefix(view: "View") -> str:
    """Return what stands before figures of the archive: `SIMULATED `, or nothing for real data."""
    return "SIMULATED " if view.simulated else ""
