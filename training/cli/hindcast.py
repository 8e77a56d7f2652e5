"""`vigie hindcast`: compute what Vigie would have reported at past month-ends."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from riskmodel.cli import options
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOME_LABELS, OUTCOMES
from training.cli.archive import open_view, realm_prefix
from training.cli.options import JOBS_OPTION

if TYPE_CHECKING:
    from riskmodel.events.view import View
    from riskmodel.months import Month
    from training.hindcast import OutcomeHindcast


@click.command()
@click.option("--from", "first", type=options.MONTH, help="Go back to this origin, if it is earlier.")
@click.option(
    "--months",
    type=click.IntRange(0),
    default=36,
    show_default=True,
    help="How many month-ends before the region's origin.",
)
@click.option(
    "--outcome",
    "outcomes",
    type=click.Choice(OUTCOMES),
    multiple=True,
    help="The deaths to forecast. Can be repeated (default: every outcome with a model in service).",
)
@JOBS_OPTION
@options.REGION_OPTION
@click.pass_obj
def hindcast(home: Home, first: "Month | None", months: int, outcomes: tuple[str, ...], jobs: int, region: str) -> None:
    """Compute what Vigie would have reported at past month-ends, and store it in the home.

    The models have the configuration of the model in service. Each is fitted in January on what came before. The
    figures are those known at the time, where the archive has the releases; else the newest figures.

    Hindcasts that are already stored are kept. A run that was stopped continues where it stopped. After a new model has
    entered service, or data were withdrawn, all of them are computed again.
    """
    from riskmodel.cli import terminal
    from training import hindcast as hindcasting
    from training.workers import Workers

    view = open_view(home)
    wanted = []
    for each in in_service(home, view, region, outcomes):
        origins = each.origins(home, months, first)
        wanted.append((each, origins, each.missing(home, origins)))
    with terminal.progress() as bars:
        bar = bars.add_task("hindcasts", total=sum(len(missing) for *_, missing in wanted))
        gaps = hindcasting.run(
            home,
            [(each, missing) for each, _, missing in wanted],
            lambda: datetime.now(UTC),
            Workers(jobs),
            lambda outcome, origin: bars.update(bar, advance=1),
        )
    for gap in gaps:
        months_of_gap = str(gap.first) if gap.first == gap.last else f"{gap.first} to {gap.last}"
        click.echo(f"{OUTCOME_LABELS[gap.outcome]['en']}: no hindcast at {months_of_gap}: {gap.reason}", err=True)
    for each, origins, missing in wanted:
        stored = [origin for origin in each.stored(home) if origin in origins]
        period = f" from {stored[0]} to {stored[-1]}" if stored else ""
        new = len([origin for origin in missing if origin in stored])
        click.echo(
            f"{realm_prefix(view)}{OUTCOME_LABELS[each.outcome]['en']}, region of {region}: "
            f"{len(stored)} hindcasts{period}, {new} computed now"
        )


def in_service(home: Home, view: "View", region: str, outcomes: tuple[str, ...]) -> "list[OutcomeHindcast]":
    """Return the hindcasts of each outcome that is asked for. Raises BadInput for one without a model in service."""
    from riskmodel import bundle
    from riskmodel.errors import BadInput
    from riskmodel.events import manifest
    from training.hindcast import OutcomeHindcast

    champions = bundle.champions(home.models, simulated=view.simulated)
    without = [OUTCOME_LABELS[outcome]["en"] for outcome in outcomes if outcome not in champions]
    if without or not champions:
        raise BadInput(f"no model{f' of {without[0]}' if without else ''} is in service: run vigie train")
    withdrawn = tuple(manifest.withdrawn(home.archive))
    return [OutcomeHindcast(view, region, bundle.load(champions[each]), withdrawn) for each in outcomes or champions]
