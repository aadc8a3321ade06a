"""Secrets in what is written down: found where users put them, hidden where they turn up.

A run records its study, and what went wrong in it; both are read by others. A study file that
holds a secret is refused, since a run without it could not be resumed; texts of errors, which may
quote an address or a header, are kept with what looks like a secret left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str | int, ...]

HIDDEN = "[hidden]"

_KNOWN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}"
    r"|github_pat_\w{30,}|xox[abprs]-[A-Za-z0-9-]{10,}|AKIA[0-9A-Z]{16}|AIza[A-Za-z0-9_-]{35})"
)
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@'\"]+(?=@)")
_IN_QUERY = re.compile(
    r"(?<=[?&])((?:access_|auth_|api_?)?(?:token|key|secret|password|signature|sig)=)[^&\s'\"]+",
    re.IGNORECASE,
)
_IN_HEADER = re.compile(r"\b(Bearer|Basic) +[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_NAME = re.compile(
    r"(?:^|_)(?:api_?key|access_?key|token|secret|passw(?:or)?d|credentials?)$", re.IGNORECASE
)
_VALUE = re.compile(r"[A-Za-z0-9._~+/=:-]{12,}")
_VARIABLE = re.compile(r"\$\{\w+\}")
_SHORTEST = 8
"""An environment variable of fewer characters is more likely a word than a secret."""


def redacted(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return a text without what looks like a secret.

    Left out are keys of well-known forms, user names and passwords in addresses, keys in their
    queries, credentials of HTTP headers, and the values of environment variables whose names say
    that they are secret.
    """
    for name, value in environment.items():
        if _NAME.search(name) and len(value) >= _SHORTEST:
            text = text.replace(value, HIDDEN)
    text = _KNOWN.sub(HIDDEN, text)
    text = _IN_ADDRESS.sub(HIDDEN, text)
    text = _IN_QUERY.sub(rf"\1{HIDDEN}", text)
    return _IN_HEADER.sub(rf"\1 {HIDDEN}", text)


def secrets_in(data: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the place of every value in plain data that is a secret.

    `${NAME}`, which stands for a variable of the environment, is none.
    """
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from secrets_in(value, (*path, key))
    elif isinstance(data, list | tuple):
        for index, value in enumerate(data):
            yield from secrets_in(value, (*path, index))
    elif isinstance(data, str) and path and _is_secret(str(path[-1]), data):
        yield path


def _is_secret(name: str, value: str) -> bool:
    if _VARIABLE.fullmatch(value):
        return False
    if _KNOWN.search(value) or any(":" in found for found in _IN_ADDRESS.findall(value)):
        return True
    return bool(_NAME.search(name) and _VALUE.fullmatch(value))
