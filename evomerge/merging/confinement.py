"""Files of a model that are read as text must be its own.

A folder that was unpacked from an archive may hold links. Configuration, tokenizer, templates and
licences are carried into merged models, and from there to wherever those are published, so a link
to a file elsewhere would publish that file. Weights are numbers, checked as such, and may lie on
another disk.
"""

from __future__ import annotations

from pathlib import Path

from evomerge.errors import CheckpointError


def require_own(path: Path) -> None:
    """Refuse a file that is a link out of the folder it stands in.

    The Hub's cache is made of links from `snapshots/<revision>` to `blobs`, beside each other in
    the folder of one repository; these are its own.

    Raises:
        CheckpointError: naming where the link leads.
    """
    if not path.exists():
        return
    target = path.resolve()
    root = path.parent.resolve()
    repository = next(
        (one.parent for one in (root, *root.parents) if one.name == "snapshots"), None
    )
    if not target.is_relative_to(root) and not (
        repository is not None and target.is_relative_to(repository / "blobs")
    ):
        raise CheckpointError(
            f"{path} is a link to {target}, outside of the model's folder; refused, since it would "
            "be carried into merges: copy the file there if it belongs to the model"
        )
