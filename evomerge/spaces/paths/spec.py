"""The schema of a data-flow space: recipes are layer paths, weights stay as they are.

    path: depthwise
    window: 1
    limits: {max_growth: 1.2}

The layers of the study's donors are the pool. The first donor lends embeddings, final norm, head
and tokenizer, and its own layers in their order are where a search starts. A file names no model.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from evomerge.recipe.model import MAX_HOPS, Frozen, Scaling
from evomerge.recipe.unroll import MAX_LOG2
from evomerge.spaces.spec import SpaceSpec

_UNITS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def _no_more_than_hops(value: float) -> float:
    if value > MAX_HOPS:
        raise ValueError(
            f"must be at most {MAX_HOPS:,}, the most hops of any path; got {value:.6g}"
        )
    return value


def _read_amount(value: Any) -> Any:
    """Read '10B', '10e9' or 1e10 as a whole number."""
    if isinstance(value, bool) or not isinstance(value, str | float):
        return value
    number, unit = (value, "") if isinstance(value, float) else (value.strip(), value.strip()[-1:])
    factor = _UNITS.get(unit.upper(), 1)
    try:
        amount = float(number[:-1] if isinstance(number, str) and factor > 1 else number) * factor
    except ValueError:
        amount = math.nan
    if not math.isfinite(amount):
        raise ValueError(f"expected a number of parameters such as 10e9 or 10B, got {value!r}")
    return round(amount)


_Bounded = AfterValidator(_no_more_than_hops)
Count: TypeAlias = Annotated[int, Field(ge=1), _Bounded]
Probability: TypeAlias = Annotated[float, Field(gt=0, lt=1)]
Scales: TypeAlias = Literal["per_hop", "matrix", "none"]


def _no_matrix(scales: Scales) -> Scales:
    if scales == "matrix":
        raise ValueError("a matrix of scales belongs to 'path: slots'; use per_hop or none")
    return scales


class LimitsSpec(Frozen):
    """What every path is held to, by repair (see `evomerge.spaces.paths.repair`).

    Attributes:
        min_hops: a shorter path is filled up with layers of the first donor.
        max_hops: longest path.
        max_growth: longest path as a multiple of the first donor's layers.
        max_unique_layers: different layers in a path: blocks in memory while it runs.
        max_parameters: of the exported checkpoint, which stores a block for each hop, embeddings
            and head included: a number, or one with K, M, B or T, as 10B.
        max_uses: how often one layer may stand in a path.
    """

    min_hops: Count = 1
    max_hops: Count | None = None
    max_growth: Annotated[float, Field(gt=0), _Bounded] | None = None
    max_unique_layers: Count | None = None
    max_parameters: Annotated[int, Field(ge=1), BeforeValidator(_read_amount)] | None = None
    max_uses: Count | None = None

    @field_validator("max_hops", "max_unique_layers")
    @classmethod
    def _check_room(cls, most: int | None, info: ValidationInfo) -> int | None:
        fewest = info.data.get("min_hops", 1)
        if most is not None and most < fewest:
            raise ValueError(f"must not be less than min_hops, {fewest}; got {most}")
        return most


class StartSpec(Frozen):
    """Where a search starts.

    Attributes:
        at: 'first_donor' starts from that donor alone, and from known paths as seeds; 'random'
            from a path drawn by the probabilities below with the study's seed, without seeds:
            at each place the drawn choice is the likeliest then.
        own: initial probability that a layer of the first donor is used in its own place.
        other: initial probability that anything is used in a place that is empty in the first
            donor alone: another slot, a further stacked layer, a spare position.
    """

    at: Literal["first_donor", "random"] = "first_donor"
    own: Probability = 0.977
    other: Probability = 0.03


class _PathSpec(Frozen):
    """What the three kinds share.

    Attributes:
        scaling: what a hop's scale multiplies, see `evomerge.recipe.LayerPath`.
        scales: 'per_hop' searches one scale a hop, 'none' leaves all at 1.
        scale_embedding: search the scale of the first hop too, which multiplies the embeddings;
            it is 1 otherwise.
        scale_range: smallest and largest scale; 1, where a search starts, lies between.
        scale_spread: standard deviation a search starts with.
        fixed_ends: a path starts with the first donor's first layer and ends with its last.
        limits: what every path is held to.
        start: where a search starts.
    """

    scaling: Scaling = "delta"
    scales: Scales = "per_hop"
    scale_embedding: bool = False
    scale_range: tuple[float, float] = (0.4, 1.6)
    scale_spread: Annotated[float, Field(gt=0)] = 0.1
    fixed_ends: bool = True
    limits: LimitsSpec = LimitsSpec()
    start: StartSpec = StartSpec()

    @field_validator("scale_embedding", "scale_range", "scale_spread")
    @classmethod
    def _check_use(cls, value: Any, info: ValidationInfo) -> Any:
        default = cls.model_fields[str(info.field_name)].default
        if info.data.get("scales") == "none" and value != default:
            raise ValueError("does nothing with 'scales: none'; remove one of them")
        return value

    @field_validator("scale_embedding")
    @classmethod
    def _check_first(cls, searched: bool, info: ValidationInfo) -> bool:
        if searched and info.data.get("scales") == "matrix":
            raise ValueError("a matrix of scales has none for the first hop; remove this key")
        return searched

    @field_validator("scale_range")
    @classmethod
    def _check_range(cls, value: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        low, high = value
        if not low < high or not low <= 1 <= high:
            raise ValueError(
                f"must be [smallest, largest] around 1, where a search starts; got {[low, high]}"
            )
        bound = 2**MAX_LOG2
        whole = info.data.get("scaling") == "full" or info.data.get("scale_embedding")
        if whole and not 1 / bound <= low < high <= bound:
            raise ValueError(
                "with 'scaling: full' or scale_embedding the whole hidden state is scaled; "
                f"stay between {1 / bound:g} and {bound:g}, got {[low, high]}"
            )
        return value


class SlotsSpec(_PathSpec):
    """The space of Akiba et al. 2025 (arXiv 2403.13187, section 3.2).

    The pool's M layers stand in order, r times; each of the T = M r slots is on or off, fixed ends
    are on in every path, and the slots that are on are the path.

    Attributes:
        repeats: r.
        order: 'donors' lays out one donor after the other, as the paper does, 'reversed' from the
            last donor to the first, 'interleaved' the first layer of every donor, then the
            second, and so on.
        scales: also 'matrix', the paper's W: a scale for each pair of layers i, j of the pool,
            used when layer j follows i.
    """

    path: Literal["slots"]
    repeats: Count = 3
    order: Literal["donors", "reversed", "interleaved"] = "donors"


class DepthwiseSpec(_PathSpec):
    """At each depth of the first donor, a layer of some donor near that depth, or none.

    Source: the depth-wise search of Su & Geiping 2025 (arXiv 2502.04030), with conditional scales
    and a start at one donor.

    Attributes:
        band: as many consecutive layers are chosen together.
        window: how many layers away from the depth a choice may lie.
        stack: at most as many choices follow one another at a depth.
    """

    path: Literal["depthwise"]
    band: Count = 1
    window: Annotated[int, Field(ge=0), _Bounded] = 0
    stack: Count = 1

    @field_validator("scales")
    @classmethod
    def _check_matrix(cls, scales: Scales) -> Scales:
        return _no_matrix(scales)


class SequenceSpec(_PathSpec):
    """Any layers in any order, as many as the limits allow; `limits` must bound the hops."""

    path: Literal["sequence"]

    @field_validator("scales")
    @classmethod
    def _check_matrix(cls, scales: Scales) -> Scales:
        return _no_matrix(scales)


PathSpec: TypeAlias = SlotsSpec | DepthwiseSpec | SequenceSpec


class JointSpec(Frozen):
    """Coefficients of a merge and a path through it and the donors, searched at once.

    Attributes:
        merge: a merge space over all donors of the study.
        layers: a path space whose first donor, called 'merged', is the merge.
        donors: which donors follow it in the pool, in this order; all of them by default.
    """

    merge: SpaceSpec
    layers: Annotated[PathSpec, Field(discriminator="path")]
    donors: tuple[str, ...] | None = None

    @field_validator("donors")
    @classmethod
    def _check_donors(cls, donors: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if donors is not None and len(set(donors)) < len(donors):
            raise ValueError("names one twice")
        return donors
