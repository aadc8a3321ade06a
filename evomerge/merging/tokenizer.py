"""Which tokenizer a merged model gets, and how its vocabulary relates to those of the inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from evomerge.errors import CheckpointError, RecipeError
from evomerge.merging.alignment import Alignment
from evomerge.merging.checkpoint import Checkpoint, read_json
from evomerge.merging.confinement import require_own
from evomerge.merging.stand_in import ConfigCheckpoint

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
# Where transformers keeps templates beside the default one.
_MORE_TEMPLATES = "additional_chat_templates"


@dataclass(frozen=True, slots=True)
class OutputTokenizer:
    """The tokenizer of a merged model.

    Attributes:
        folder: the model whose tokenizer files are taken over.
        replaced: file name to content of files that differ from those.
        alignment: how the inputs' rows are permuted; None where they agree already.
        owner: the checkpoint whose special token ids hold; None for the configuration's own.
    """

    folder: Path
    replaced: Mapping[str, bytes] = field(default_factory=dict)
    alignment: Alignment | None = None
    owner: Checkpoint | None = None

    def files(self) -> dict[str, bytes]:
        """Return every tokenizer file by name, which may begin with a folder's.

        Raises:
            CheckpointError: one is a link to another folder's file.
        """
        found = {name: (self.folder / name).read_bytes() for name in _own_files(self.folder)}
        return {**found, **self.replaced}

    def write(self, folder: Path) -> None:
        """Write every tokenizer file into an existing folder."""
        for name, content in self.files().items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)


def choose_tokenizer(
    source: str,
    reference: Checkpoint,
    named: Checkpoint | None,
    inputs: Mapping[str, Checkpoint],
) -> OutputTokenizer:
    """Choose the tokenizer and align the vocabularies if they differ.

    Args:
        source: the recipe's tokenizer_source: 'base', 'union' or a model.
        reference: the base, or the first input.
        named: the model `source` names, if it names one.
        inputs: every model of the recipe by key.

    Raises:
        CheckpointError: a vocabulary is needed and cannot be read.
        RecipeError: a union of vocabularies that cannot be written.
    """
    chosen = named or reference
    vocabularies = {key: vocabulary(model) for key, model in inputs.items()}
    target = vocabulary(chosen)
    if all(tokens == target for tokens in vocabularies.values()):
        return OutputTokenizer(chosen.folder, owner=named)
    replaced: dict[str, bytes] = {}
    if source == "union":
        extended = dict(target)
        for tokens in vocabularies.values():
            for token in sorted(tokens, key=lambda token: tokens[token]):
                extended.setdefault(token, max(extended.values()) + 1)
        if extended != target:
            folders = [model.folder for model in inputs.values()]
            replaced["tokenizer.json"] = _extended_file(chosen.folder, target, extended, folders)
        target = extended
    rows = max(target.values()) + 1
    positions = {}
    for key, tokens in vocabularies.items():
        place = torch.full((rows,), -1, dtype=torch.int64)
        for token, index in target.items():
            place[index] = tokens.get(token, -1)
        positions[key] = place
    return OutputTokenizer(chosen.folder, replaced, Alignment(rows, positions), named)


def vocabulary(model: Checkpoint) -> dict[str, int]:
    """Return token -> id of a model's tokenizer, added tokens included.

    Raises:
        CheckpointError: the model has no tokenizer, or it cannot be read.
    """
    if isinstance(model, ConfigCheckpoint):
        return model.vocabulary
    file = model.folder / "tokenizer.json"
    if not file.is_file():
        tokenizer = load_tokenizer(model.folder)
        if tokenizer is None:
            raise CheckpointError(
                f"model '{model.label}' has no tokenizer in {model.folder}; drop tokenizer_source "
                "or add one"
            )
        return dict(tokenizer.get_vocab())
    # Needed only where a recipe names a tokenizer; its stubs do not exist.
    from tokenizers import Tokenizer  # noqa: PLC0415

    try:
        return dict(Tokenizer.from_file(str(file)).get_vocab(with_added_tokens=True))
    except Exception as error:
        # The Rust side raises plain Exception, whatever is wrong with the file.
        raise CheckpointError(f"{file}: the tokenizer cannot be read: {error}") from error


def _own_files(folder: Path) -> list[str]:
    """Return the names of a folder's tokenizer files, having seen that they are its own."""
    templates = folder / _MORE_TEMPLATES
    require_own(templates)
    more = [f"{_MORE_TEMPLATES}/{path.name}" for path in sorted(templates.glob("*.jinja"))]
    names = [name for name in (*TOKENIZER_FILES, *more) if (folder / name).is_file()]
    for name in names:
        require_own(folder / name)
    return names


def load_tokenizer(folder: Path, *, run_code: bool = False) -> Any:
    """Load the tokenizer of a model folder with transformers; None where there is none.

    Args:
        folder: of the model.
        run_code: run Python code that comes with it.

    Raises:
        CheckpointError: its files are damaged, or it needs code that may not be run.
    """
    if not any(name in TOKENIZER_FILES for name in _own_files(folder)):
        return None
    from transformers import AutoTokenizer  # noqa: PLC0415 -- seconds to import

    try:
        # said outright, since transformers would ask on the terminal
        return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=run_code)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{folder}: the tokenizer cannot be loaded: {str(error).splitlines()[0]}"
        ) from error


def _extended_file(
    folder: Path, target: Mapping[str, int], extended: Mapping[str, int], folders: list[Path]
) -> bytes:
    """Return a tokenizer.json with further tokens.

    A token its owner had added (a chat marker, say) is added with the same properties; any other
    joins the vocabulary, where it has a row and an id, and its owner's merge rules are not taken
    over.

    Raises:
        RecipeError: its vocabulary is no table of tokens.
    """
    file = folder / "tokenizer.json"
    content = read_json(file, "tokenizer_source 'union'")
    table = content.get("model", {}).get("vocab")
    if not isinstance(table, dict):
        raise RecipeError(
            f"tokenizer_source 'union': the vocabulary of {file} is not a table of tokens (a "
            "unigram model?) and cannot be extended; use 'base' or a model"
        )
    added: dict[str, Any] = {}
    for other in folders:
        path = other / "tokenizer.json"
        if path.is_file():
            for entry in read_json(path, "tokenizer_source 'union'").get("added_tokens", []):
                added.setdefault(entry["content"], entry)
    for token, index in extended.items():
        if token in target:
            continue
        if token in added:
            content.setdefault("added_tokens", []).append({**added[token], "id": index})
        else:
            table[token] = index
    return json.dumps(content, ensure_ascii=False).encode()
