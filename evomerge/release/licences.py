"""Which licences a merge inherits: those that its inputs name, and nothing else.

A licence is read where a model's owner wrote it: `license` in the metadata of its card
(README.md), `license` in config.json, and LICENSE, COPYING or NOTICE files beside the weights. What
is not written there is unknown; no licence is guessed from a name, a family or a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge.errors import CheckpointError
from evomerge.merging.checkpoint import ADAPTER_CONFIG, is_hub_id, read_json, resolve_folder
from evomerge.merging.confinement import require_own
from evomerge.recipe.model import ModelRef

_TEXTS = re.compile(r"(LICEN[SC]E|COPYING|NOTICE)([-_]\w+)?(\.(txt|md|rst))?", re.IGNORECASE)
_CARD_FILES = ("README.md", "LICENSE*", "LICENCE*", "COPYING*", "NOTICE*", "license*")


@dataclass(frozen=True, slots=True)
class Licence:
    """What one model says of its licence.

    Attributes:
        model: what the study calls it.
        names: licences named in card or configuration, as they stand there; mostly one.
        full_name: of a licence that the Hub has no identifier for (`license_name`).
        link: to its text (`license_link`).
        read_from: the files that name it.
        texts: file name to content of licence files.
        unread: why there was nothing to read; None where there was.
    """

    model: str
    names: tuple[str, ...] = ()
    full_name: str | None = None
    link: str | None = None
    read_from: tuple[str, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()
    unread: str | None = None

    @property
    def called(self) -> str | None:
        """The licence in a word or two; None where it is unknown."""
        if not self.names:
            return None
        return " and ".join(self.labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """Each licence by the Hub's identifier, or by its own name where the Hub has none."""
        return tuple(
            self.full_name if name == "other" and self.full_name else name for name in self.names
        )

    @property
    def sentence(self) -> str:
        """What is known, for readers."""
        files = f"its {' and '.join(name for name, _ in self.texts)}" if self.texts else ""
        if self.called is None:
            if files:
                return f"**unknown**: no card or configuration names it; {files} is in LICENSE"
            return (
                f"**unknown**: {self.unread or 'no card, configuration or licence file names it'}"
            )
        link = f", {self.link}" if self.link else ""
        more = f"; {files} is in LICENSE" if files else ""
        return f"{self.called}{link} (from {' and '.join(self.read_from)}){more}"


@dataclass(frozen=True, slots=True)
class Inheritance:
    """The licences of all inputs.

    Attributes:
        licences: one for each input, the base first.
    """

    licences: tuple[Licence, ...]

    @property
    def metadata(self) -> dict[str, str]:
        """`license` and its companions for the metadata of a card.

        One licence that all inputs name is passed on. Otherwise it is 'other', with the list in the
        file LICENSE; 'unknown' where no input names any.
        """
        named = {one.names for one in self.licences}
        own = {(one.full_name, one.link) for one in self.licences}
        if len(named) == 1 and len(*named) == 1:
            (name,) = named.pop()
            if name != "other":
                return {"license": name}
            full_name, link = own.pop()
            if not own and full_name and link:
                return {"license": name, "license_name": full_name, "license_link": link}
        known = sorted({label for one in self.licences for label in one.labels})
        if not known:
            return {"license": "unknown"}
        parts = known if not self.unknown else [*known, "unknown"]
        slug = re.sub(r"[^a-z0-9.]+", "-", "-and-".join(parts).lower()).strip("-")
        return {"license": "other", "license_name": slug, "license_link": "LICENSE"}

    @property
    def unknown(self) -> tuple[str, ...]:
        """Inputs whose licence nobody names."""
        return tuple(one.model for one in self.licences if one.called is None)

    @property
    def summary(self) -> str:
        """One line for the terminal."""
        known = list(dict.fromkeys(one.called for one in self.licences if one.called))
        if not known:
            return "unknown: none of the models names one; find out before you publish it"
        text = ", ".join(known)
        if self.unknown:
            text += f"; unknown for {', '.join(self.unknown)}: find out before you publish it"
        elif len(known) > 1:
            text += ": all of them hold; see whether they allow what you plan"
        return text

    def file(self) -> str | None:
        """Return the content of the file LICENSE; None where it would say nothing of its own."""
        texts = [(one.model, name, text) for one in self.licences for name, text in one.texts]
        if not texts and self.metadata.get("license_link") != "LICENSE":
            return None
        lines = ["This model is a merge. What its inputs say of their licences:", ""]
        lines += [f"- {one.model}: {_plain(one.sentence)}" for one in self.licences]
        for model, name, text in texts:
            lines += ["", f"{'=' * 20} {name} of {model} {'=' * 20}", "", text.rstrip()]
        return "\n".join(lines) + "\n"


def inherited(models: Mapping[str, ModelRef]) -> Inheritance:
    """Read the licences of models.

    Args:
        models: what the study calls them, to what they are; the base first. Of a base with an
            adapter the adapter is read, the base being listed by itself.
    """
    return Inheritance(tuple(_read(name, ref) for name, ref in models.items()))


def _read(name: str, ref: ModelRef) -> Licence:
    path, revision = (
        (ref.path, ref.revision) if ref.adapter is None else (ref.adapter, ref.adapter_revision)
    )
    try:
        folder = resolve_folder(path, revision)
    except CheckpointError as error:
        return Licence(name, unread=f"{error}")
    unread = None
    if is_hub_id(path) and not (folder / "README.md").is_file():
        unread = _fetch_card(path, revision)
    found: dict[str, tuple[str, ...]] = {}
    card = _card(folder / "README.md")
    for file, content in (("README.md", card), *_configurations(folder)):
        names = _names(content.get("license"))
        if names:
            found[file] = names
    names = tuple(dict.fromkeys(one for names in found.values() for one in names))
    return Licence(
        name,
        names,
        _text(card.get("license_name")),
        _text(card.get("license_link")),
        tuple(found),
        tuple(_texts(folder)),
        unread,
    )


def _fetch_card(path: str, revision: str | None) -> str | None:
    """Get the card of a model of the Hub, whose weights came without; say why it is not there."""
    from huggingface_hub import is_offline_mode, snapshot_download  # noqa: PLC0415 -- slow import
    from huggingface_hub.utils import httpx  # noqa: PLC0415

    if is_offline_mode():
        return "its card is not in the local cache and HF_HUB_OFFLINE is set"
    try:
        snapshot_download(path, revision=revision, allow_patterns=list(_CARD_FILES))
    except (OSError, ValueError, httpx.HTTPError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"its card is not in the local cache and the Hub did not give it: {reason}"
    return None


def _card(file: Path) -> Mapping[str, Any]:
    """Return the metadata of a model card; empty where there is none or it is damaged."""
    from huggingface_hub import ModelCard  # noqa: PLC0415 -- slow import
    from yaml import YAMLError  # noqa: PLC0415

    require_own(file)
    try:
        text = file.read_text(encoding="utf-8-sig")
        if not text.lstrip().startswith("---"):
            return {}
        content: Mapping[str, Any] = ModelCard(text, ignore_metadata_errors=True).data.to_dict()
    except (OSError, UnicodeDecodeError, ValueError, YAMLError, RecursionError):
        return {}
    return content


def _configurations(folder: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for name in ("config.json", ADAPTER_CONFIG):
        if (folder / name).is_file():
            yield name, read_json(folder / name, f"model {folder}")


def _names(value: Any) -> tuple[str, ...]:
    values: Sequence[Any] = value if isinstance(value, list) else [value]
    return tuple(str(one).strip() for one in values if isinstance(one, str) and one.strip())


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _texts(folder: Path) -> Iterable[tuple[str, str]]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and _TEXTS.fullmatch(path.name):
            require_own(path)
            yield path.name, path.read_text(encoding="utf-8", errors="replace")


def _plain(text: str) -> str:
    return text.replace("**", "")
