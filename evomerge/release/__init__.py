"""Taking a model home: a verified folder with its card, and the way to the Hub."""

from evomerge.release.exporting import Exported, export_adapter, export_checkpoint
from evomerge.release.hub import push, require_hub
from evomerge.release.subject import Subject, read_subject

__all__ = [
    "Exported",
    "Subject",
    "export_adapter",
    "export_checkpoint",
    "push",
    "read_subject",
    "require_hub",
]
