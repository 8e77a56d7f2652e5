"""The sub-commands of `vigie` for model work; the entry point `vigie.commands` names them, by section of the help."""

from training.cli.alerts import alerts
from training.cli.backtest import backtest, compare
from training.cli.hindcast import hindcast
from training.cli.models import card, list_models, promote, rollback, shadow
from training.cli.train import train

commands = {
    "Models": [train, hindcast, backtest, compare, list_models, card, promote, shadow, rollback],
    "Operate": [alerts],
}
