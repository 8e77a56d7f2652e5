"""The commands that the service adds to `vigie`, by section of its help."""

import service.cli.alert_lifecycle  # it adds commands to the group `alerts`
import service.cli.alert_replay  # noqa: F401  # it adds a command to the group `alerts`
from service.cli.alerts import alerts
from service.cli.database import db
from service.cli.export_command import export
from service.cli.jobs import jobs
from service.cli.keys import keys
from service.cli.ledger import ledger
from service.cli.run_job import prune, recompute, store_hindcasts, task, verify
from service.cli.scores import scores
from service.cli.serve import scheduler, up, web
from service.cli.snapshots import changed, snapshots

commands = {
    "Run": [up, web, scheduler, recompute, scores, changed, export],
    "Operate": [jobs, snapshots, verify, alerts, keys, ledger, db, prune, store_hindcasts, task],
}
