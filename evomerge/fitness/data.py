"""Evaluation items: read from files, from `datasets`, or from the user's own Python."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from evomerge.errors import DataError, MissingExtra, nearest
from evomerge.fitness.protocol import Item
from evomerge.registry import Registry

Rows: TypeAlias = Iterator[tuple[str, Mapping[str, Any]]]
"""Each row with the place that an error names, 'file:line' mostly."""

_PLUGINS = Registry("items", {})
_DATASET_KEYS = ("dataset", "config", "split", "revision", "data_files")


def load_items(
    source: str | Path | Mapping[str, Any],
    *,
    folder: Path,
    limit: int | None = None,
    fields: Sequence[str] = (),
) -> tuple[Item, ...]:
    """Read evaluation items.

    Args:
        source: one of
            - a JSONL ('.jsonl') or CSV ('.csv', '.tsv') file;
            - 'zoo:NAME', a file that comes with evomerge;
            - './file.py:attr' or 'module:attr', an iterable of mappings or a function without
              arguments that returns one;
            - {dataset: ..., split: ...} and optionally config, revision and data_files, read by
              Hugging Face's `datasets` from the hub or from a local folder.
        folder: where relative paths start.
        limit: read the first so many items only.
        fields: what every item must have beside its id.

    Returns:
        Items in order. Each has a string 'id', unique here: its own, or else
        '<stem>-<row number>', rows counted from 1.

    Raises:
        DataError: nothing to read, a malformed row, a missing field, or an id that repeats.
        MissingExtra: `datasets` is needed and not installed.
        PluginError: the Python source cannot be imported.
    """
    if limit is not None and limit < 1:
        raise DataError(f"items: limit must be at least 1, got {limit}; leave it out to read all")
    if isinstance(source, Mapping):
        stem, rows = _dataset_rows(source, folder)
    else:
        stem, rows = _named_rows(str(source), folder)
    items: list[Item] = []
    seen: dict[str, str] = {}
    for number, (place, row) in enumerate(islice(rows, limit), start=1):
        for name in fields:
            if name not in row:
                known = ", ".join(map(str, row)) or "no field"
                raise DataError(f"{place}: field '{name}' is missing; the item has {known}")
        identity = _identity(row.get("id"), f"{stem}-{number}", place)
        if identity in seen:
            raise DataError(
                f"{place}: id '{identity}' was used at {seen[identity]} already; ids must be unique"
            )
        seen[identity] = place
        items.append({**row, "id": identity})
    if not items:
        raise DataError(f"items '{source}' are empty; at least one item is needed")
    return tuple(items)


def item_field(item: Item, name: str) -> Any:
    """Return a field of an item.

    Raises:
        DataError: the item has no such field; the message names those it has.
    """
    if name not in item:
        known = ", ".join(sorted(set(item) - {"id"})) or "nothing but its id"
        raise DataError(f"item '{item['id']}': field '{name}' is missing; it has {known}")
    return item[name]


def text_field(item: Item, name: str) -> str:
    """Return the field of an item that has this name and must be text.

    Raises:
        DataError: the field is missing or not a string.
    """
    value = item_field(item, name)
    if not isinstance(value, str):
        raise DataError(f"item '{item['id']}': field '{name}' must be text, got {value!r}")
    return value


def _identity(given: Any, otherwise: str, place: str) -> str:
    if given is None or given == "":
        return otherwise
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise DataError(f"{place}: an id must be text or an integer, got {given!r}")
    return str(given)


def _named_rows(source: str, folder: Path) -> tuple[str, Rows]:
    if source.startswith("zoo:"):
        path: Path = importlib.import_module("evomerge.zoo").path()
        return _file_rows(path / "data" / source.removeprefix("zoo:"))
    path = Path(folder, source)
    if path.suffix.lower() in _READERS:
        return _file_rows(path)
    if ":" in source:
        return _python_rows(source, folder)
    raise DataError(
        f"items '{source}': the format is unknown; give a {', '.join(_READERS)} file, zoo:NAME, "
        "./file.py:attr, module:attr, or {dataset: ..., split: ...}"
    )


def _file_rows(path: Path) -> tuple[str, Rows]:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"items {path}: the format is unknown; valid: {', '.join(_READERS)}")
    if not path.is_file():
        raise DataError(f"items file {path} does not exist; relative paths start at the study file")
    return path.stem, _decoded(reader(path), path)


def _decoded(rows: Rows, path: Path) -> Rows:
    try:
        yield from rows
    except UnicodeDecodeError as error:
        raise DataError(f"items file {path} is not UTF-8 text: {error}") from error


def _jsonl_rows(path: Path) -> Rows:
    with path.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            place = f"{path}:{line}"
            try:
                row = json.loads(text.rstrip())
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{place}: not JSON: {error.msg} at column {error.colno}; "
                    "each line holds one object"
                ) from error
            yield place, _mapping(row, place)


def _csv_rows(path: Path, delimiter: str = ",") -> Rows:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            header = next(reader, [])
            if len(set(header)) < len(header):
                raise DataError(f"{path}:1: two columns have the same name: {', '.join(header)}")
            for cells in reader:
                if not cells:
                    continue
                place = f"{path}:{reader.line_num}"
                if len(cells) != len(header):
                    raise DataError(
                        f"{place}: {len(cells)} cells under {len(header)} columns "
                        f"({', '.join(header)}); quote cells that hold the delimiter"
                    )
                yield place, dict(zip(header, cells, strict=True))
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: not CSV: {error}") from error


def _tsv_rows(path: Path) -> Rows:
    return _csv_rows(path, delimiter="\t")


_READERS: dict[str, Callable[[Path], Rows]] = {
    ".jsonl": _jsonl_rows,
    ".csv": _csv_rows,
    ".tsv": _tsv_rows,
}


def _python_rows(source: str, folder: Path) -> tuple[str, Rows]:
    location, _, attribute = source.rpartition(":")
    made = _PLUGINS.load(source, folder)
    try:
        made = made() if callable(made) else made
    except Exception as error:  # the user's code may raise anything
        raise DataError(f"items '{source}' raised {type(error).__name__}: {error}") from error
    if isinstance(made, str | Mapping) or not isinstance(made, Iterable):
        raise DataError(
            f"items '{source}' must be an iterable of mappings, or a function that returns one, "
            f"got {type(made).__name__}"
        )
    stem = Path(location).stem if location.endswith(".py") else location.rpartition(".")[2]
    rows = ((f"{source}[{index}]", row) for index, row in enumerate(_guarded(made, source)))
    return f"{stem}-{attribute}", ((place, _mapping(row, place)) for place, row in rows)


def _guarded(rows: Iterable[Any], source: str) -> Iterator[Any]:
    """Yield rows; what iterating over them raises is the user's to mend."""
    try:
        yield from rows
    except Exception as error:  # the user's code may raise anything
        raise DataError(f"items '{source}' raised {type(error).__name__}: {error}") from error


def _dataset_rows(source: Mapping[str, Any], folder: Path) -> tuple[str, Rows]:
    for key in source:
        if key not in _DATASET_KEYS:
            raise DataError(f"items: key '{key}' is unknown; {nearest(key, _DATASET_KEYS)}")
    if not source.get("dataset") or not source.get("split"):
        raise DataError("items: a dataset needs its name and split: {dataset: NAME, split: test}")
    try:
        import datasets  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("items from 'dataset'", "datasets") from error
    name, split = str(source["dataset"]), str(source["split"])
    local = Path(folder, name)
    try:
        if (local / "dataset_dict.json").is_file() or (local / "state.json").is_file():
            rows = datasets.load_from_disk(str(local))
            rows = rows[split] if isinstance(rows, datasets.DatasetDict) else rows
        else:
            rows = datasets.load_dataset(
                str(local) if local.exists() else name,
                source.get("config"),
                split=split,
                revision=source.get("revision"),
                data_files=source.get("data_files"),
            )
    # What datasets raises for a wrong name, configuration, split or file, and for no network.
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"items: dataset '{name}', split '{split}', cannot be read: {error}"
        ) from error
    places = ((f"{name}[{split}][{index}]", row) for index, row in enumerate(rows))
    return f"{Path(name).name}-{split}", places


def _mapping(row: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
        raise DataError(
            f"{place}: an item is a mapping from field names to values, got {row!r:.80}"
        )
    return row
