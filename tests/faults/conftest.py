"""The small world of the command line, here too."""

from tests.cli.conftest import models, world

__all__ = ["models", "world"]
