"""What can go wrong, in three families: the user's input, a source outside, and our own fault; each with its exit code.

Wrong use of the command line (exit code 2) is click's own `UsageError`.
"""


class VigieError(Exception):
    """A failure that a person can read and act on. Its text is shown without a traceback."""

    exit_code = 5


class BadInput(VigieError):
    """A file, a row or a setting breaks a rule. The text names the file, the row where there is one, and the rule."""

    exit_code = 3


class SourceUnavailable(VigieError):
    """Something outside (a provider, a receiver, the network) did not answer as it should."""

    exit_code = 4


class Refused(VigieError):
    """Vigie refuses to go on with what it holds: a digest that does not match, a model of other data, a lock held."""

    exit_code = 3
