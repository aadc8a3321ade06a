"""Reads pickles of plain containers and numeric arrays, and runs nothing that stands in them.

A pickle is a program: loading one calls whatever it names. Here the only names it can call are the
stand-ins below, which are written in Python and look at nothing but their arguments; NumPy's own
reconstruction is kept out, because it trusts the types and flags it is given.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import DataError

_NUMBERS = re.compile(r"[biuf][1248]")


def load_plain(path: Path) -> Any:
    """Read dictionaries, lists, tuples, strings, numbers and numeric arrays.

    Raises:
        DataError: the file cannot be read, is damaged, or holds anything else; what it asked for is
            named.
    """
    try:
        with path.open("rb") as file:
            return _revealed(_Reader(file).load())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except _DAMAGED as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: not a pickle of plain containers and numeric arrays: {reason}"
        ) from error


_DAMAGED = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,  # also text that is no UTF-8
)
"""What unpickling raises on bytes that are no pickle."""


class _Type:
    """Stands in for numpy.dtype: a numeric type and its byte order."""

    def __init__(self, code: str, *_: object) -> None:
        if not _NUMBERS.fullmatch(code):
            raise pickle.UnpicklingError(f"an array of type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands in for numpy.ndarray while its contents are read."""

    def __init__(self) -> None:
        self.array: NDArray[Any] = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_column, content = state
        self.array = _from_bytes(content, kind, shape, "F" if by_column else "C")


def _from_bytes(content: Any, kind: Any, shape: Any, order: Any) -> NDArray[Any]:
    if not isinstance(content, bytes | bytearray) or not isinstance(kind, _Type):
        raise pickle.UnpicklingError("an array of what are no numbers")
    return np.frombuffer(bytes(content), dtype=kind.dtype).reshape(shape, order=order)


def _empty(*_: object) -> _Array:
    return _Array()


def _scalar(kind: Any, content: Any) -> Any:
    return _from_bytes(content, kind, (), "C")[()]


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _Array,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")  # NumPy 1 and 2
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _empty),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_bytes),
        )
    },
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for '{module}.{name}'")
        return _STAND_INS[module, name]


def _revealed(value: Any) -> Any:
    """Return the value with arrays in place of their stand-ins."""
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, dict):
        return {_revealed(key): _revealed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_revealed(item) for item in value)
    return value
