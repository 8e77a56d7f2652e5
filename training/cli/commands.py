"""The sub-commands of `vigie` for model work; the entry point `vigie.commands` names this list."""

from training.cli.backtest import backtest, compare
from training.cli.models import card, list_models, promote, rollback, shadow
from training.cli.train import train

commands = [train, backtest, compare, list_models, card, promote, shadow, rollback]
