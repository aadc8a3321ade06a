"""What a member of a population is, as a flat tuple that survives JSON unchanged.

    ("donor", name)                                     a donor
    ("found", k)                                        the k-th recipe taken from another stage
    ("mix", n, parent, ..., "at", end, w, ..., end, w, ..., <mutation>, <"rebase">)
        n parents by trial number; for each region its end and n weights; then one of
        "gauss", key, std                   std times standard normal numbers
        "svd_seed", key, donor, rate, low   rate * u on the donor's singular values, u in [low, 1]
        "svd_child", key, scale             the child's own singular values times w in [0, scale]
        and "rebase" where the child is computed in full

The numbers of a mutation are named by its key and the study's seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from evomerge.errors import InvalidGenotype
from evomerge.types import GeneValue, Genotype

DONOR = "donor"
FOUND = "found"
MIX = "mix"
_AT = "at"
_REBASE = "rebase"
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class GaussianMutation:
    """Adds independent normal numbers to every element.

    Attributes:
        key: names the numbers.
        std: their standard deviation, in the weights' own units.
    """

    key: int
    std: float


@dataclass(frozen=True, slots=True)
class SeedSvdMutation:
    """Adds a donor's task vector with its singular values multiplied by rate * u.

    Attributes:
        key: names the numbers u.
        donor: position of the donor.
        rate: factor on all of them.
        low: u is uniform between this and 1: 0 (the released code) or -1 (symmetric).
    """

    key: int
    donor: int
    rate: float
    low: int = 0


@dataclass(frozen=True, slots=True)
class ChildSvdMutation:
    """Multiplies the child's own singular values by numbers uniform in [0, scale].

    Attributes:
        key: names the numbers.
        scale: w_max.
    """

    key: int
    scale: float


Mutation: TypeAlias = GaussianMutation | SeedSvdMutation | ChildSvdMutation


@dataclass(frozen=True, slots=True)
class Offspring:
    """An individual with parents.

    Attributes:
        parents: by trial number.
        ends: one past the last position of each region.
        weights: of the parents in each region, shape (n_regions, n_parents).
        mutation: what follows.
        rebased: it is computed in full, and descendants do not look behind it.
    """

    parents: tuple[int, ...]
    ends: tuple[int, ...]
    weights: tuple[tuple[float, ...], ...]
    mutation: Mutation | None = None
    rebased: bool = False

    def genotype(self) -> Genotype:
        """Return it as a flat tuple."""
        values: list[GeneValue] = [MIX, len(self.parents), *self.parents, _AT]
        for end, row in zip(self.ends, self.weights, strict=True):
            values += (end, *row)
        match self.mutation:
            case GaussianMutation(key, std):
                values += ("gauss", key, std)
            case SeedSvdMutation(key, donor, rate, low):
                values += ("svd_seed", key, donor, rate, low)
            case ChildSvdMutation(key, scale):
                values += ("svd_child", key, scale)
        return (*values, *([_REBASE] if self.rebased else []))

    @classmethod
    def read(cls, genotype: Genotype) -> Offspring:
        """Read what `genotype` wrote.

        Raises:
            InvalidGenotype: it is something else.
        """
        try:
            return _read(genotype)
        except (ValueError, IndexError, TypeError) as error:
            raise InvalidGenotype(
                f"not an individual of a population: {str(genotype)[:_SHOWN]}"
            ) from error


def is_founder(genotype: Genotype) -> bool:
    """Say whether an individual has no parents."""
    return genotype[0] in (DONOR, FOUND)


def _read(genotype: Genotype) -> Offspring:
    values = list(genotype)
    if values[0] != MIX:
        raise ValueError(values[0])
    n = _whole(values[1])
    parents = tuple(_whole(value) for value in values[2 : 2 + n])
    if values[2 + n] != _AT:
        raise ValueError(values[2 + n])
    position = 3 + n
    ends: list[int] = []
    weights: list[tuple[float, ...]] = []
    while position < len(values) and not isinstance(values[position], str):
        ends.append(_whole(values[position]))
        row = values[position + 1 : position + 1 + n]
        weights.append(tuple(float(value) for value in row))
        position += n + 1
    rest = values[position:]
    rebased = bool(rest) and rest[-1] == _REBASE
    if rebased:
        rest = rest[:-1]
    return Offspring(parents, tuple(ends), tuple(weights), _mutation(rest), rebased)


def _mutation(values: list[GeneValue]) -> Mutation | None:
    match values:
        case []:
            return None
        case ["gauss", key, std]:
            return GaussianMutation(_whole(key), float(std))
        case ["svd_seed", key, donor, rate, low]:
            return SeedSvdMutation(_whole(key), _whole(donor), float(rate), _whole(low))
        case ["svd_child", key, scale]:
            return ChildSvdMutation(_whole(key), float(scale))
    raise ValueError(values)


def _whole(value: GeneValue) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return value
