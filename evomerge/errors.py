"""What can go wrong, and how it is said.

    EvomergeError                exit code 1
    ├── UserError                exit code 2: the user can mend it; the message says how
    │   ├── ConfigError          a study file: every problem at once, with file and line
    │   ├── RecipeError          a recipe that means nothing, or mergekit cannot express
    │   ├── CheckpointError      model files: missing, damaged, mismatched, unsafe
    │   ├── SpaceError           a search space that does not fit the models
    │   ├── FitnessError         a fitness that cannot be loaded, bound or believed
    │   ├── DataError            evaluation items that cannot be read
    │   ├── RunDirectoryError    a run directory that is taken, locked or not a run
    │   ├── JournalError         a journal that is damaged or cannot be written
    │   ├── PluginError          a name nobody registered, an object that cannot be imported
    │   └── MissingExtra         an optional dependency that is not installed
    ├── InvalidGenotype          a genotype that decodes to no recipe: a failed trial, never retried
    ├── NonFiniteMerge           a merge that produced inf or NaN: a failed trial, never retried
    ├── VerificationError        what was exported is not the model that was evaluated
    └── ReplayMismatch           the optimizer no longer proposes what the journal recorded

A message is one line: what is wrong, where (file, key, model, tensor), what was expected, and how
to mend it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EvomergeError(Exception):
    """Base of every error raised on purpose by evomerge."""

    exit_code = 1


class UserError(EvomergeError):
    """The input is wrong and the user can mend it."""

    exit_code = 2


class ConfigError(UserError):
    """One or more problems of a study file; `problems` holds one line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class RecipeError(UserError):
    """A recipe is malformed, or a format cannot express it."""


class CheckpointError(UserError):
    """Model files are missing, damaged, unsafe, or do not match one another."""


class SpaceError(UserError):
    """A search space is malformed or does not fit the models of the study."""


class FitnessError(UserError):
    """A fitness cannot be imported or bound, or returns what is not a score."""


class DataError(UserError):
    """Evaluation items are missing or malformed."""


class RunDirectoryError(UserError):
    """A run directory exists already, is locked by another process, or holds no run."""


class JournalError(UserError):
    """The journal is damaged or cannot be written."""


class PluginError(UserError):
    """A plug-in name is unknown, or what it names cannot be imported."""


class MissingExtra(UserError):
    """An optional dependency is needed and not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an extra: pip install 'evomerge[{extra}]'")


class InvalidGenotype(EvomergeError):
    """A genotype decodes to no recipe."""


class NonFiniteMerge(EvomergeError):
    """A merge produced inf or NaN."""


class VerificationError(EvomergeError):
    """What was exported, read back, is not the model that was evaluated."""


class ReplayMismatch(EvomergeError):
    """Replaying the journal, the optimizer proposed something else than was recorded."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the valid name nearest to `name`, for the end of a message."""
    names = sorted(set(known))
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if match:
        return f"did you mean '{match[0]}'?"
    return f"valid: {', '.join(names)}" if names else "nothing is valid here"
