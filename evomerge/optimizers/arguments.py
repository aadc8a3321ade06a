"""Checks of what an optimizer is constructed with, in the words of a study file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evomerge.errors import ConfigError, SpaceError, nearest
from evomerge.spaces.domain import Domain, Gene


def integer(option: str, value: object, at_least: int) -> int:
    """Return an integer option.

    Raises:
        ConfigError: it is not an integer, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ConfigError([f"{option}: expected an integer >= {at_least}, got {value!r}"])
    return value


def number(option: str, value: object, above: float, at_most: float = math.inf) -> float:
    """Return a finite numeric option in (above, at_most].

    Raises:
        ConfigError: it is not a number, or out of range.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not above < value <= at_most
    ):
        limits = f"above {above:g}" + (f" and at most {at_most:g}" if at_most < math.inf else "")
        raise ConfigError([f"{option}: expected a number {limits}, got {value!r}"])
    return float(value)


def not_negative(option: str, value: object) -> float:
    """Return a finite numeric option of at least 0.

    Raises:
        ConfigError: it is not a number, or negative.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and value == 0:
        return 0.0
    try:
        return number(option, value, 0)
    except ConfigError:
        raise ConfigError([f"{option}: expected a number of at least 0, got {value!r}"]) from None


def choice(option: str, value: object, known: Sequence[str]) -> str:
    """Return an option that is one of a few words.

    Raises:
        ConfigError: it is none of them.
    """
    if value not in known:
        raise ConfigError([f"{option}: {value!r} is unknown; {nearest(str(value), known)}"])
    return str(value)


def flag(option: str, value: object) -> bool:
    """Return a true-or-false option.

    Raises:
        ConfigError: it is neither.
    """
    if not isinstance(value, bool):
        raise ConfigError([f"{option}: expected true or false, got {value!r}"])
    return value


def text(option: str, value: object) -> str:
    """Return an option that is a word.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(value, str):
        raise ConfigError([f"{option}: expected a name, got {value!r}"])
    return value


def names(option: str, value: object) -> list[str]:
    """Return an option that is a list of words.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise ConfigError([f"{option}: expected a list of names, got {value!r}"])
    return list(value)


def by_name(option: str, value: object, pair: str) -> Mapping[str, Any]:
    """Return an option that has a value for each of some names.

    Args:
        option: its name.
        value: as it was given.
        pair: what a name and its value are called, as 'gene: importance'.

    Raises:
        ConfigError: it is no mapping, or a key is no word.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigError([f"{option}: expected {pair} for each that has one, got {value!r}"])
    return value


def of_preset(
    presets: Mapping[str, Mapping[str, Any]], preset: str, option: str, value: Any
) -> Any:
    """Return an option, or what its preset says where it is not given.

    Raises:
        ConfigError: there is no such preset.
    """
    chosen = presets[choice("preset", preset, tuple(presets))]
    return chosen[option] if value is None else value


def checked_domain(domain: Domain) -> Domain:
    """Return a domain that optimizers can vary: at least one gene, bounds that leave room.

    Raises:
        SpaceError: naming the gene that leaves none.
    """
    if not domain.genes:
        raise SpaceError("the search space has no genes; give it at least one to vary")
    for gene in domain.genes:
        if gene.kind == "categorical":
            if not gene.choices:
                raise SpaceError(f"gene '{gene.name}': expected at least one choice, got none")
            if gene.empty is not None and gene.empty not in gene.choices:
                raise SpaceError(f"gene '{gene.name}': empty '{gene.empty}' is none of its choices")
            _check_weights(gene)
        elif not (math.isfinite(gene.low) and math.isfinite(gene.high)):
            raise SpaceError(f"gene '{gene.name}': bounds must be finite, {_bounds(gene)}")
        elif gene.low > gene.high or (gene.kind == "continuous" and gene.low == gene.high):
            raise SpaceError(f"gene '{gene.name}': low must be below high, {_bounds(gene)}")
        elif gene.log and gene.low <= 0:
            raise SpaceError(f"gene '{gene.name}': a log gene needs low > 0, {_bounds(gene)}")
        elif gene.spread is not None and not 0 < gene.spread < math.inf:
            raise SpaceError(f"gene '{gene.name}': spread must be above 0, got {gene.spread!r}")
    return domain


def _check_weights(gene: Gene) -> None:
    if gene.weights and (
        len(gene.weights) != len(gene.choices)
        or not all(0 <= weight < math.inf for weight in gene.weights)
        or sum(gene.weights) == 0
    ):
        raise SpaceError(
            f"gene '{gene.name}': expected {len(gene.choices)} weights >= 0, not all 0, "
            f"got {list(gene.weights)}"
        )


def _bounds(gene: Gene) -> str:
    return f"got [{gene.low:g}, {gene.high:g}]"
