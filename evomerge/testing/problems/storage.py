"""Data files of fitted problems: arrays of numbers and a text of JSON, nothing that is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evomerge.spaces.domain import Condition, Domain, Gene, HopSequence, Seed
from evomerge.testing.problems.surrogate import Floats, Surrogate

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class MergeData:
    """What a data file holds.

    Attributes:
        domain: of the space whose merges were evaluated.
        tasks: the objectives.
        base: accuracy of the base on the search items, by task.
        donors: those of each donor, by name.
        surrogate: fitted on the evaluations.
        front: points of the reference front in unit coordinates, (n_points, n_genes).
        front_costs: their expected costs, (n_points, n_tasks).
        front_volume: anchored hypervolume of the whole front, of which only some points are kept.
        facts: what is known of the file, for reports.
    """

    domain: Domain
    tasks: tuple[str, ...]
    base: Mapping[str, float]
    donors: Mapping[str, Mapping[str, float]]
    surrogate: Surrogate
    front: Floats
    front_costs: Floats
    front_volume: float
    facts: Mapping[str, Any]


def write_data(path: Path, data: MergeData, rates: Floats, noise: Floats) -> None:
    """Write a data file; points are rounded to single precision.

    Args:
        path: ends in '.npz'.
        data: what to write.
        rates: of the surrogate's kernels.
        noise: of its kernels.
    """
    about = {
        "domain": asdict(data.domain),
        "tasks": data.tasks,
        "base": data.base,
        "donors": data.donors,
        "front_volume": data.front_volume,
        "facts": data.facts,
    }
    np.savez_compressed(
        path,
        about=np.array(json.dumps(about)),
        points=data.surrogate.points.astype(np.float32),
        scores=np.packbits(data.surrogate.scores, axis=2),
        rates=rates,
        noise=noise,
        front=data.front.astype(np.float32),
        front_costs=data.front_costs,
    )


def read_data(arrays: Arrays) -> MergeData:
    """Read what `write_data` wrote."""
    about = json.loads(str(arrays["about"]))
    domain = domain_of(about["domain"])
    scores = np.unpackbits(arrays["scores"], axis=2).astype(np.bool_)
    surrogate = Surrogate(
        arrays["points"].astype(np.float64),
        scores,
        np.array([gene.kind == "categorical" for gene in domain.genes]),
        arrays["rates"],
        arrays["noise"],
    )
    return MergeData(
        domain,
        tuple(about["tasks"]),
        about["base"],
        about["donors"],
        surrogate,
        arrays["front"].astype(np.float64),
        arrays["front_costs"],
        about["front_volume"],
        about["facts"],
    )


def domain_of(content: Mapping[str, Any]) -> Domain:
    """Rebuild a domain from `dataclasses.asdict` of it after a way through JSON."""
    genes = tuple(
        Gene(
            **{
                **gene,
                "choices": tuple(gene["choices"]),
                "weights": tuple(gene["weights"]),
                "condition": _condition(gene["condition"]),
            }
        )
        for gene in content["genes"]
    )
    seeds = tuple(Seed(seed["name"], tuple(seed["genotype"])) for seed in content["seeds"])
    sequence = content["sequence"]
    if sequence is not None:
        sequence = HopSequence(
            tuple(sequence["elements"]), tuple(map(tuple, sequence["attributes"]))
        )
    return Domain(genes, seeds, sequence, content["linear"])


def _condition(content: Mapping[str, Any] | None) -> Condition | None:
    return None if content is None else Condition(content["gene"], tuple(content["values"]))
