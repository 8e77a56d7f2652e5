"""The commands for model work: train, backtest, compare, models, card, promote, shadow, rollback."""
