"""The `vigie` command. Each package brings its sub-commands through the entry-point group `vigie.commands`.

An entry point is a mapping from a section of the help to click commands. A command imports what is slow to import when
it runs, so that `vigie --help` stays fast.
"""

import errno
import gc
import logging
import sys
import traceback
from datetime import UTC, datetime
from importlib.metadata import entry_points
from typing import NoReturn

import click

from riskmodel import __version__
from riskmodel.cli.groups import HOME_OPTION, command_group
from riskmodel.errors import BadInput, ExitCode, VigieError
from riskmodel.home import Home, default_home
from riskmodel.parent_process import end_with_parent

GARBAGE_THRESHOLD = 50_000
"""New objects before Python's garbage collector runs. With its own 700 it would run hundreds of times during imports,
which make no garbage."""

SECTIONS = ("Run", "Data", "Models", "Operate")
"""The sections of `vigie --help`, in order."""

_OF_THE_USER = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ENOSPC}
"""Errors of a path that the user named, or of the disk; they are not Vigie's fault."""


@command_group(params=[HOME_OPTION], context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="vigie")
def vigie() -> None:
    """Turn conflict events into calibrated country risk scores, serve them, and send alerts.

    Exit codes: 0 done, 1 refused or a check failed, 2 wrong use, 3 bad input, 4 unavailable (a provider, the network,
    an address, the database), 5 internal error, 130 interrupted.
    """


for section in SECTIONS:
    vigie.add_section(section)
for entry_point in entry_points(group="vigie.commands"):
    for section, commands in entry_point.load().items():
        vigie.add_section(section, commands)


def main() -> None:
    """Run `vigie` and exit with a code of `ExitCode`."""
    context: click.Context | None = None
    end_with_parent()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 50)
    logging.basicConfig(handlers=[logging.NullHandler()])  # a command prints its own messages; logs stay silent
    try:
        with vigie.make_context("vigie", sys.argv[1:]) as context:
            vigie.invoke(context)
        sys.exit(ExitCode.DONE)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.ClickException as wrong_use:
        wrong_use.show()
        sys.exit(wrong_use.exit_code)
    except VigieError as failure:
        click.echo(f"vigie: {failure}", err=True)
        sys.exit(failure.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("vigie: interrupted; no file is left half-written", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.exit(ExitCode.DONE)  # the reader of a pipe (head, less) has read enough
    except OSError as failure:
        if failure.errno not in _OF_THE_USER:
            _exit_with_fault(failure, context)
        click.echo(f"vigie: {failure.filename or 'a file'}: {failure.strerror}", err=True)
        sys.exit(BadInput.exit_code)
    except Exception as fault:
        _exit_with_fault(fault, context)


def _exit_with_fault(fault: Exception, context: click.Context | None) -> NoReturn:
    click.echo(f"vigie: internal error: {type(fault).__name__}: {fault}{_save_traceback(context)}", err=True)
    sys.exit(VigieError.exit_code)


def _save_traceback(context: click.Context | None) -> str:
    """Write the traceback to the home's log folder. Return where it is, or nothing if it cannot be written."""
    home = context.meta.get("home") if context else None
    log = (home or Home(default_home())).logs / f"fault-{datetime.now(UTC):%Y%m%dT%H%M%S}.txt"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        return ""
    return f" (traceback in {log})"
