"""What `evomerge VERB --help` says of every argument, and what the guides say of every verb."""

import pytest
import typer

from evomerge.cli.app import app

from .commands import lines_of
from .pages import blocks

COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_and_argument_is_explained(verb):
    command = COMMANDS[verb]
    first, *_ = command.help.splitlines()
    assert first.endswith(".")
    assert len(first) <= 100  # the list of commands has it on one line
    for parameter in command.params:
        assert parameter.help, parameter.name
        assert parameter.help.endswith((".", "…")), parameter.name


def test_every_verb_is_shown_in_a_guide():
    shown = {
        words[1]
        for block in blocks()
        if block.language in ("bash", "console")
        for words in lines_of(block.text)
        if words[0] == "evomerge"
    }
    assert shown == set(COMMANDS)
