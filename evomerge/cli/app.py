"""The `evomerge` command: one thin command per verb, errors in one line, exit codes that mean.

0 done, 1 failed, 2 the user's error, 130 interrupted (by Ctrl-C or SIGTERM). What a scheduler does
with each is in docker/README.md.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from evomerge import __version__
from evomerge.cli import results, searches
from evomerge.cli.compare import compare
from evomerge.cli.dashboard import dashboard
from evomerge.cli.export import export
from evomerge.cli.merge import merge
from evomerge.cli.migrate import migrate, table
from evomerge.cli.report import report
from evomerge.cli.searches import EXIT_INTERRUPTED
from evomerge.cli.studies import PASSES_OPTIONS
from evomerge.errors import EvomergeError

_USER_ERRNOS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOENT,
}


class _Commands(TyperGroup):
    """Lists commands in the order in which a user meets them, and lets `main` see interruptions."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:  # typer would end with 130 and no word
            raise typer.Abort(str(error)) from error

    def list_commands(self, ctx: object) -> list[str]:  # noqa: ARG002
        return list(self.commands)


app = typer.Typer(
    name="evomerge",
    cls=_Commands,
    help="Search for the best way to merge models.",
    epilog="Begin with 'evomerge quickstart', or with init, check, run and report for your own "
    "models. Exit codes: 0 done, 1 failed, 2 your input, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(searches.quickstart)
app.command()(searches.init)
app.command(context_settings=PASSES_OPTIONS, epilog=table())(migrate)
app.command(context_settings=PASSES_OPTIONS)(searches.check)
app.command(context_settings=PASSES_OPTIONS)(searches.run)
app.command()(searches.resume)
app.command()(results.status)
app.command()(results.front)
app.command()(compare)
app.command()(report)
app.command()(dashboard)
app.command()(export)
app.command()(merge)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"evomerge {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Search for the best way to merge models."""


def main() -> None:
    """Run the command line; the entry point of the `evomerge` script."""
    # a scheduler may end a session before there is a run, and the first process of a container
    # would not even notice
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(standalone_mode=False)
    except EvomergeError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort) as stop:
        why = str(stop) or "stopped"
        _complain(f"{why}; 'evomerge resume' continues a run from its last finished trial")
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in _USER_ERRNOS:
            raise
        _complain(f"{error.filename or 'a file'}: {error.strerror}")
        sys.exit(2)
    except Exception as error:
        show = getattr(error, "show", None)  # click's usage errors print themselves
        if show is None:
            raise
        show()
        sys.exit(getattr(error, "exit_code", 2))
    sys.exit(code if isinstance(code, int) else 0)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _complain(text: str) -> None:
    for line in text.splitlines():
        print(f"evomerge: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
