"""Populations as a few lines of text, for `evomerge status`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from evomerge.optimizers.archives.watch import Niche, NicheMap
from evomerge.report.populations.population import Population

_LISTED = 5
_INDENT = " " * 12


def population_lines(
    population: Population,
    metrics: Mapping[int, Mapping[str, float]],
    estimated: Collection[int] = (),
) -> Iterator[str]:
    """Yield one or two lines for each archive.

    Args:
        population: as it stands.
        metrics: of the completed trials, in the user's sign.
        estimated: those whose metrics are estimates, since they stopped on a rung.
    """
    part = f"{population.label}: " if population.label else ""
    for number, one in enumerate(population.maps):
        where = f"  {'' if number else 'niches':<9} {part}{f'{one.name}: ' if one.name else ''}"
        if population.examples:
            count = len(one.niches)
            members = f"{count} {'member holds' if count == 1 else 'members hold'} "
            members += _filled(one, "examples")
            best = "" if one.champion is None else f"; best trial {one.champion}"
            yield f"{where}{members}{best}"
            owners = _owners(population, one)
            if owners:
                yield f"{_INDENT}{owners}"
        else:
            best = _best(one, metrics, estimated)
            note = f"; {one.note}" if one.note else ""
            clipped = f"; {one.clipped} clipped, widen 'ranges'" if one.clipped else ""
            yield f"{where}{_filled(one, 'cells' if one.bins else 'places')}{best}{clipped}{note}"


def _filled(one: NicheMap, places: str) -> str:
    return f"{one.filled} of {one.places} {places}, {one.coverage:.0%}".replace("%", " %")


def _best(
    one: NicheMap, metrics: Mapping[int, Mapping[str, float]], estimated: Collection[int]
) -> str:
    if not one.niches:
        return "; nobody yet"
    best = max(one.niches, key=lambda niche: (niche.quality, -niche.trial))
    score = metrics.get(best.trial, {}).get(one.name, best.quality)
    how = " (an estimate)" if best.trial in estimated else ""
    return f"; best {score:.3g}{how} by trial {best.trial}"


def _owners(population: Population, one: NicheMap) -> str:
    """Say who holds most, and of which objectives where there are several."""
    holders = sorted(
        (niche for niche in one.niches if niche.holds),
        key=lambda niche: (-niche.holds, niche.trial),
    )
    words = [_owner(population, niche) for niche in holders[:_LISTED]]
    more = len(holders) - len(words)
    rest = sum(niche.holds for niche in holders[_LISTED:])
    return ", ".join([*words, *([f"{more} others {rest}"] if more else [])])


def _owner(population: Population, niche: Niche) -> str:
    held = population.holdings.get(niche.trial, {})
    several = len(population.examples) > 1
    of = " + ".join(f"{count} {name}" for name, count in held.items() if count)
    return f"trial {niche.trial} holds {niche.holds}{f' ({of})' if several and of else ''}"
