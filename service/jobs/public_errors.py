"""Error texts that anyone is allowed to read: in the lists of runs, jobs and tasks."""

from riskmodel.errors import VigieError
from riskmodel.home import Home

INTERNAL_ERROR = "internal error of Vigie; the log has the traceback"


def public_error(failure: BaseException, home: Home) -> str:
    """Return the text of an expected error. The text of any other error may contain secrets and is not shown."""
    return without_home(str(failure), home) if isinstance(failure, VigieError) else INTERNAL_ERROR


def without_home(text: str, home: Home) -> str:
    """Return a text without the path of the home on this machine."""
    return text.replace(str(home.root), "VIGIE_HOME")
