"""Options that several commands of training have."""

from typing import TYPE_CHECKING

import click

from riskmodel.outcomes import OUTCOMES

if TYPE_CHECKING:
    from riskmodel.forecasting.component import Explainable

OUTCOME_OPTION = click.option(
    "--outcome",
    type=click.Choice(OUTCOMES),
    help="The deaths to forecast (default: all, where the archive knows the deaths of all types, else state_based).",
)
SEED_OPTION = click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed gives the same model."
)
MODEL_OPTION = click.option(
    "--model",
    "model_name",
    metavar="MODULE:FUNCTION",
    help="Use your own model: a function in a module of this folder that makes a model from a seed.",
)
JOBS_OPTION = click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Compute windows in this many processes of one thread each; 1 is this process with all its threads.",
)
DASK_OPTION = click.option(
    "--dask",
    metavar="ADDRESS",
    help="Compute windows on a Dask cluster: the address of its scheduler, tcp://host:8786.",
)


def chosen_model(name: str | None, seed: int) -> "Explainable":
    """Make the model that `--model` names, or Vigie's own. Raises BadParameter where there is none."""
    from training import model_factory

    try:
        return model_factory.make_model(name or model_factory.SERVED_MODEL, seed)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--model") from None
