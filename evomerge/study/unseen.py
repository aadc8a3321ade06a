"""Models that are not on this machine, for checking a study before it goes where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evomerge.errors import ConfigError, UserError, nearest
from evomerge.merging.stand_in import ConfigCheckpoint
from evomerge.recipe import ModelRef


@dataclass(frozen=True)
class StandIns:
    """Configurations that stand in for models that cannot be found.

    Attributes:
        default: config.json for every model without one of its own.
        by_name: config.json by the model's name in the study; 'base' for the base.
        used: what stood in, by name; filled while a study is prepared.
    """

    default: Path | None = None
    by_name: Mapping[str, Path] = field(default_factory=dict)
    used: dict[str, ConfigCheckpoint] = field(default_factory=dict)

    @classmethod
    def read(cls, entries: Sequence[str]) -> StandIns:
        """Read 'FILE' and 'NAME=FILE' entries.

        Raises:
            UserError: a file does not exist, or two are for the same models.
        """
        default: Path | None = None
        by_name: dict[str, Path] = {}
        for entry in entries:
            name, separator, text = entry.partition("=")
            file = Path(text if separator else name)
            if not file.is_file():
                raise UserError(f"--config {entry}: there is no file {file}")
            if (separator and name in by_name) or (not separator and default is not None):
                raise UserError(f"--config {entry}: there is one for the same models already")
            if separator:
                by_name[name] = file
            else:
                default = file
        return cls(default, by_name)

    def require_known(self, names: Sequence[str]) -> None:
        """Check that every configuration is for a model of the study.

        Raises:
            ConfigError: a name is none of them.
        """
        wrong = [name for name in self.by_name if name not in names]
        if wrong:
            raise ConfigError(
                [f"--config {name}=…: no such model; {nearest(name, names)}" for name in wrong]
            )

    def find(self, name: str, ref: ModelRef) -> ConfigCheckpoint | None:
        """Return what stands in for a model; None where it is found or has no configuration.

        Raises:
            CheckpointError: the configuration means no model.
        """
        file = self.by_name.get(name, self.default)
        if file is None or _is_here(ref):
            return None
        self.used[name] = ConfigCheckpoint(file, str(ref))
        return self.used[name]


def _is_here(ref: ModelRef) -> bool:
    """Say whether a model is on this machine: a folder, or in the hub's cache."""
    if Path(ref.path).expanduser().exists():
        return True
    if ref.path.startswith((".", "/", "~")) or ref.path.count("/") > 1:
        return False
    from huggingface_hub import snapshot_download  # noqa: PLC0415 -- slow import, rarely needed
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        snapshot_download(ref.path, revision=ref.revision, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return False
    return True
