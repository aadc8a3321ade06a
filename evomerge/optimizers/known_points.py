"""The trials every search starts with: the seeds of the domain and its initial point."""

from __future__ import annotations

from evomerge.errors import SpaceError
from evomerge.optimizers.protocol import Proposal
from evomerge.spaces.domain import Domain, Gene
from evomerge.types import GeneValue

SEED = "seed:"
INITIAL = "initial"


def known_points(domain: Domain) -> tuple[Proposal, ...]:
    """List the domain's seeds in order, then its initial point, each canonical genotype once.

    Raises:
        SpaceError: a known point lies outside the domain.
    """
    sources = [(f"{SEED}{seed.name}", seed.genotype) for seed in domain.seeds]
    sources.append((INITIAL, domain.initial))
    proposals: dict[tuple[GeneValue, ...], Proposal] = {}
    for origin, genotype in sources:
        if len(genotype) != len(domain):
            raise SpaceError(f"{origin}: expected {len(domain)} values, got {len(genotype)}")
        plain = tuple(
            _plain(origin, gene, value) for gene, value in zip(domain.genes, genotype, strict=True)
        )
        canonical = domain.canonical(plain)
        proposals.setdefault(canonical, Proposal(canonical, origin))
    return tuple(proposals.values())


def is_known_point(origin: str) -> bool:
    """Say whether an origin names a known point."""
    return origin == INITIAL or origin.startswith(SEED)


def _plain(origin: str, gene: Gene, value: GeneValue) -> GeneValue:
    """Return the value as the plain Python type that survives JSON unchanged."""
    if gene.kind == "categorical":
        if value not in gene.choices:
            raise SpaceError(
                f"{origin}: gene '{gene.name}' is {value!r}; expected one of {list(gene.choices)}"
            )
        return str(value)
    number = float(value)
    if not gene.low <= number <= gene.high:
        raise SpaceError(
            f"{origin}: gene '{gene.name}' is {value!r}, outside [{gene.low:g}, {gene.high:g}]; "
            "widen the bounds or drop the point"
        )
    if gene.kind == "integer":
        if number != int(number):
            raise SpaceError(f"{origin}: gene '{gene.name}' is {value!r}; expected an integer")
        return int(number)
    return number
