"""Command groups: they print descriptions in full, under section headings, and give every command `--home`."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from riskmodel.home import Home, default_home

_LONGEST_DESCRIPTION = 1000
"""Longer than any description, so that click does not cut one off with "..." [characters]."""

HOME_HELP = "The folder Vigie keeps everything in (default: VIGIE_HOME, or the platform's place for your data)."


def _set_home(context: click.Context, _: click.Parameter, value: Path | None) -> None:
    """Use a home for this command and those below it. The innermost `--home` wins."""
    if value is not None or context.obj is None:
        context.obj = Home((value or default_home()).absolute())
    context.meta["home"] = context.obj  # shared with the contexts above; the fault log of `main` reads it


HOME_OPTION = click.Option(
    ["--home"],
    type=click.Path(file_okay=False, path_type=Path),
    is_eager=True,  # other options read their defaults from the home's vigie.toml
    expose_value=False,
    callback=_set_home,
    help=HOME_HELP,
)


class CommandGroup(click.Group):
    """A group whose help has sections. Every command that is added to it accepts `--home`."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._sections: dict[str, list[str]] = {}

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, which accepts `--home` from now on."""
        super().add_command(cmd, name)
        if HOME_OPTION not in cmd.params:
            cmd.params.append(HOME_OPTION)

    def add_section(self, heading: str, commands: Iterable[click.Command] = ()) -> None:
        """Add commands under a heading. Headings keep the order in which they are first added.

        A group that several packages add commands to is listed once.
        """
        names = self._sections.setdefault(heading, [])
        for command in commands:
            self.add_command(command)
            if command.name not in names:
                names.append(str(command.name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their descriptions, by section; those in no section come last."""
        sectioned = {name for names in self._sections.values() for name in names}
        others = [name for name in self.list_commands(ctx) if name not in sectioned]
        for heading, names in (*self._sections.items(), ("Other" if sectioned else "Commands", others)):
            rows = [
                (name, command.get_short_help_str(_LONGEST_DESCRIPTION))
                for name in names
                if (command := self.get_command(ctx, name)) is not None and not command.hidden
            ]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


def command_group(name: str | None = None, **settings: Any) -> Callable[[Callable[..., Any]], CommandGroup]:
    """Declare a `CommandGroup`, or a class of its own (`cls`), as `click.group` declares a group."""
    return click.group(name, **{"cls": CommandGroup} | settings)
