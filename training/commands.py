"""Kept until the installed entry point names `training.cli.commands`."""

from training.cli.commands import commands

__all__ = ["commands"]
