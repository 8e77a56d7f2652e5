"""The failures that a person can act on, each with the exit code of the `vigie` command."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit code of `vigie` means."""

    DONE = 0
    REFUSED = 1
    """Vigie refused: a model does not pass the gate, a digest does not match, a lock is taken, a check failed."""
    WRONG_USE = 2
    """A wrong command line: click's `UsageError`."""
    BAD_INPUT = 3
    """A file, a row, a setting or a named thing breaks a rule."""
    UNAVAILABLE = 4
    """A provider, the network, an address, a receiver or the database is unavailable."""
    INTERNAL = 5
    """A fault of Vigie or of the machine."""
    INTERRUPTED = 130
    """Ctrl-C."""


class VigieError(Exception):
    """A failure that a person can read and act on. Its text is shown without a traceback."""

    exit_code = ExitCode.INTERNAL


class Refused(VigieError):
    """Vigie refuses to go on: a digest does not match, a model fits other data, a lock is taken, a check failed."""

    exit_code = ExitCode.REFUSED


class BadInput(VigieError):
    """A file, a row or a setting breaks a rule. The text names the file, the row where there is one, and the rule."""

    exit_code = ExitCode.BAD_INPUT


class Unavailable(VigieError):
    """Something outside this process (an address, a server, a receiver, the database) is not available."""

    exit_code = ExitCode.UNAVAILABLE


class SourceUnavailable(Unavailable):
    """A provider of data did not answer as it should."""
