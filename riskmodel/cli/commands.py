"""The commands of the domain, by section of `vigie --help`. `training.cli` and `service.cli` have theirs."""

from riskmodel.cli.archive import archive
from riskmodel.cli.explanation import indicators, whatif
from riskmodel.cli.ingest import ingest
from riskmodel.cli.pull import pull
from riskmodel.cli.signals import signals

commands = {"Data": [ingest, pull, archive, signals], "Models": [indicators, whatif]}
