"""The group `vigie alerts`. The service and training add their commands to it, and neither needs the other."""

from riskmodel.cli.groups import command_group


@command_group()
def alerts() -> None:
    """List alerts, check, test and tune their rules, and settle messages."""
