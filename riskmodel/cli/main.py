"""The one command, `vigie`, whose sub-commands each package brings through the entry-point group `vigie.commands`.

An entry point is a list of click commands. What a command needs that is slow to import, it imports when it runs.
"""

import errno
import gc
import logging
import sys
import traceback
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import NoReturn

import click

from riskmodel import __version__
from riskmodel.errors import BadInput, VigieError
from riskmodel.home import Home, default_home

GARBAGE_AFTER = 50_000
"""How many objects may be made before Python looks for garbage among them: with its own 700 every command would look
again and again through what it has just imported."""

INTERRUPTED = 130
_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ENOSPC)
"""What is wrong with a path that the user gave, or with the disk, and not with Vigie."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="vigie")
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_home,
    help="The folder Vigie keeps everything in (default: VIGIE_HOME, or the platform's place for your data).",
)
@click.pass_context
def vigie(context: click.Context, home: Path) -> None:
    """Vigie, the look-out: conflict events in, calibrated country risk out, alerts when it matters."""
    context.obj = Home(home.absolute())


for entry_point in entry_points(group="vigie.commands"):
    for command in entry_point.load():
        vigie.add_command(command)


def main() -> None:
    """Run `vigie` and leave with 0 done, 2 wrong use, 3 bad input, 4 source unavailable, 5 internal."""
    context: click.Context | None = None
    gc.set_threshold(GARBAGE_AFTER, 20, 50)
    logging.basicConfig(handlers=[logging.NullHandler()])  # commands print what they have to say
    try:
        with vigie.make_context("vigie", sys.argv[1:]) as context:
            vigie.invoke(context)
        sys.exit(0)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.ClickException as wrong_use:
        wrong_use.show()
        sys.exit(wrong_use.exit_code)
    except VigieError as failure:
        click.echo(f"vigie: {failure}", err=True)
        sys.exit(failure.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("vigie: interrupted; nothing is half-written", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as failure:
        if failure.errno not in _NOT_OURS:
            _fault(failure, context)
        click.echo(f"vigie: {failure.filename or 'a file'}: {failure.strerror}", err=True)
        sys.exit(BadInput.exit_code)
    except Exception as fault:
        _fault(fault, context)


def _fault(fault: Exception, context: click.Context | None) -> NoReturn:
    click.echo(f"vigie: internal error: {type(fault).__name__}: {fault}{_kept(context)}", err=True)
    sys.exit(VigieError.exit_code)


def _kept(context: click.Context | None) -> str:
    """Write the traceback to the home's log folder and say where, or say nothing if there is no writing there."""
    home = context.obj if context and isinstance(context.obj, Home) else Home(default_home())
    log = home.logs / f"fault-{datetime.now(UTC):%Y%m%dT%H%M%S}.txt"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        return ""
    return f" (traceback kept in {log})"
