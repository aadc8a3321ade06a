"""Command lines read by the parsers of the programs they name, without running anything."""

import typer

from evomerge.cli import app as command_line
from evomerge.cli.studies import PASSES_OPTIONS, named_study


def parse_evomerge(words):
    """Parse the words after `evomerge`; returns the values of the options.

    Raises:
        AssertionError: there is no such command.
        click.UsageError: its words mean nothing.
        EvomergeError: the study, or an option of one that takes foreign options.
    """
    root = typer.main.get_command(command_line.app)
    context = _read(root.get_command(root.context_class(root), words[0]), words)
    if context.command.context_settings == PASSES_OPTIONS:
        named_study(context.params["words"], context.params["overrides"] or (), context)
    return context.params


def parse_ray(words):
    """Parse the words after `ray`.

    Raises:
        AssertionError: there is no such command.
        click.UsageError: its words mean nothing.
    """
    from ray.scripts.scripts import cli  # noqa: PLC0415 an extra, and slow to import

    return _read(cli.get_command(None, words[0]), words).params


def _read(command, words):
    assert command is not None, f"no such command: {words[0]}"
    return command.make_context(words[0], list(words[1:]))
