"""Do the optimizers run at the paper's dimension? A surrogate for M = 64, r = 3, T = 192.

    python experiments/data_flow/dimension.py --out runs/dimension --generations 100 --seeds 5

Two donors of 32 layers and the shipped spaces: `sakana_dfs` (192 slots, two of them fixed: 190
indicators + 191 scales), `sakana_dfs_matrix` (190 + 64^2 = 4286 genes) and `layer_sequence`. No
model is loaded. The cost of a path is its edit distance, in hops, to a hidden path near donor A:

    insert or delete a hop: 1;  replace it by another layer: 1;
    the same layer at scale s where the hidden path has s*: min(1, ((s - s*) / 0.2)^2).

The hidden path is the start of the search (A alone, with A's ends) after 12 flips of slots, 3 off
and 9 on, with scales drawn from N(1, 0.15) within the bounds; it can be spelled in every space, so
the best cost is 0. It says whether an algorithm can follow a signal at this size and what it costs;
it has no noise and no deception, which real models have. `--items n` turns the cost d into the
accuracy exp(-d / 10) on n items, rounded, and so into ties.

Every optimizer starts with the same known points and gets the same number of evaluations,
generations x population. Costs are of the best candidate of all, at its true distance. Seconds are
the optimizer's own (ask and tell) per generation, on the machine that runs this; the ratio to
random search is what carries over. A run that exceeds `--max-seconds` of these is stopped and
reported with the evaluations it made.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evomerge.errors import UserError
from evomerge.optimizers import build_optimizer
from evomerge.recipe import Hop, ModelRef
from evomerge.recipe.layout import Layout
from evomerge.spaces import Space, SpaceContext, load_space
from evomerge.types import Completed, Genotype, Trial

LAYERS = 32
SPACES = ("sakana_dfs", "sakana_dfs_matrix", "layer_sequence")
OPTIMIZERS = ("random", "cma_es", "cma_wm", "cat_cma", "nsga2", "optuna")
OFF_FLIPS, ON_FLIPS, SCALE_STD, TOLERANCE = 3, 9, 0.15, 0.2
Hops = tuple[Hop, ...]


@dataclass(frozen=True)
class Run:
    """One search."""

    space: str
    optimizer: str
    seed: int
    start: float
    best: float
    hops: int
    evaluations: int
    seconds_per_generation: float
    ended: str


def main() -> None:
    """Run every optimizer on every space and write a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--generations", type=int, default=100)
    parser.add_argument("--population", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--items", type=int, default=0, help="round to the accuracy on n items")
    parser.add_argument("--max-seconds", type=float, default=1800.0, help="of one optimizer's run")
    parser.add_argument("--spaces", nargs="+", choices=SPACES, default=SPACES)
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=OPTIMIZERS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found: list[Run] = []
    refused: dict[str, str] = {}
    for space in options.spaces:
        for optimizer in options.optimizers:
            for seed in range(1, options.seeds + 1):
                try:
                    found.append(search(space, optimizer, seed, options))
                except UserError as error:
                    refused[f"{optimizer} on {space}"] = str(error)
                    break
                print(f"{time.strftime('%H:%M:%S')} {found[-1]}", flush=True)
    arguments = {key: str(value) for key, value in vars(options).items() if key != "out"}
    report = {"arguments": arguments, "runs": [asdict(run) for run in found], "refused": refused}
    (options.out / "dimension.json").write_text(json.dumps(report, indent=1) + "\n")
    table = markdown(found, refused, options)
    (options.out / "dimension.md").write_text(table)
    print(table)


def context() -> SpaceContext:
    """Two donors of 32 layers, of which only the names matter here."""
    parts = ("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")
    names = [f"model.layers.{k}.{part}.weight" for k in range(LAYERS) for part in parts]
    layout = Layout.of([*names, "model.embed_tokens.weight", "model.norm.weight"], "llama")
    donors = {name: ModelRef(path=f"models/{name}") for name in ("a", "b")}
    return SpaceContext(base=donors["a"], donors=donors, layout=layout)


def path_of(space: Space, genotype: Genotype) -> Hops:
    """Return the hops that a genotype stands for."""
    path = space.decode(genotype).path
    if path is None:
        raise TypeError("this space decodes to merges, not to layer paths")
    return tuple(path.hops)


def hidden_path(seed: int) -> Hops:
    """Flip some slots of the start and draw all scales."""
    space = load_space("sakana_dfs", context())
    random = np.random.default_rng([seed, 192])
    genotype = list(space.domain.initial)
    slots = [i for i, gene in enumerate(space.domain.genes) if gene.kind == "categorical"]
    on = [i for i in slots if genotype[i] == "on"]
    off = [i for i in slots if genotype[i] == "off"]
    flips = [
        *random.choice(on[1:-1], OFF_FLIPS, replace=False),
        *random.choice(off, ON_FLIPS, replace=False),
    ]
    for i in flips:
        genotype[i] = "off" if genotype[i] == "on" else "on"
    for i, gene in enumerate(space.domain.genes):
        if gene.kind == "continuous":
            genotype[i] = float(np.clip(random.normal(1.0, SCALE_STD), gene.low, gene.high))
    return path_of(space, tuple(genotype))


def distance(path: Hops, hidden: Hops) -> float:
    """Edit distance in hops; see the module's docstring."""
    above = np.arange(len(hidden) + 1, dtype=float).tolist()
    for row, hop in enumerate(path, start=1):
        line = [float(row)]
        for column, wanted in enumerate(hidden, start=1):
            if (hop.model, hop.layer) == (wanted.model, wanted.layer):
                match = min(1.0, ((hop.scale - wanted.scale) / TOLERANCE) ** 2)
            else:
                match = 1.0
            line.append(min(above[column] + 1, line[column - 1] + 1, above[column - 1] + match))
        above = line
    return above[-1]


def search(name: str, optimizer_name: str, seed: int, options: argparse.Namespace) -> Run:
    """Run one search; `options` as on the command line."""
    space, hidden = load_space(name, context()), hidden_path(seed)
    settings: dict[str, Any] = {}
    if optimizer_name in ("cma_es", "cma_wm", "cat_cma", "nsga2"):
        settings["population"] = options.population
    clock = time.perf_counter()
    optimizer = build_optimizer(optimizer_name, space.domain, 1, seed, settings)
    spent = time.perf_counter() - clock
    budget = options.generations * options.population
    costs: dict[Hops, float] = {}
    best = (math.inf, 0)
    number, ended = 0, "budget"
    while number < budget:
        clock = time.perf_counter()
        proposal = optimizer.ask(number)
        spent += time.perf_counter() - clock
        if proposal is None:
            ended = optimizer.stop_reason() or "waits"
            break
        path = path_of(space, proposal.genotype)
        if path not in costs:
            costs[path] = distance(path, hidden)
        cost = costs[path]
        best = min(best, (cost, len(path)))
        told = cost if not options.items else -round(math.exp(-cost / 10) * options.items)
        trial = Trial(number, proposal.genotype, Completed({"cost": told}), (float(told),))
        clock = time.perf_counter()
        optimizer.tell(trial)
        spent += time.perf_counter() - clock
        number += 1
        if spent > options.max_seconds:
            ended = f"stopped after {options.max_seconds:g} s"
            break
    return Run(
        name,
        optimizer_name,
        seed,
        distance(path_of(space, space.domain.initial), hidden),
        best[0],
        best[1],
        number,
        spent / number * options.population,
        ended,
    )


def markdown(runs: Sequence[Run], refused: Mapping[str, str], options: argparse.Namespace) -> str:
    """Tabulate means and ranges over seeds."""
    lines = [
        f"{options.generations} generations of {options.population}, {options.seeds} seeds, "
        + (f"accuracy rounded to {options.items} items." if options.items else "exact cost.")
        + " Distances in hops, mean (smallest to largest); seconds on the machine that ran this.",
        "",
        "| space | optimizer | n | start | best distance | hops of the best | evaluations "
        "| s per generation | of random search's |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.space, run.optimizer), []).append(run)
    for (space, optimizer), group in groups.items():
        seconds = float(np.mean([run.seconds_per_generation for run in group]))
        baseline = groups.get((space, "random"))
        ratio = "-"
        if baseline:
            ratio = f"{seconds / np.mean([r.seconds_per_generation for r in baseline]):.1f} x"
        cells = [
            space,
            optimizer,
            str(len(group)),
            f"{np.mean([run.start for run in group]):.1f}",
            spread([run.best for run in group]),
            spread([float(run.hops) for run in group]),
            f"{np.mean([run.evaluations for run in group]):.0f}",
            f"{seconds:.3f}",
            ratio,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"Refused: {what}: {why}" for what, why in refused.items())]
    ended = sorted({f"{r.optimizer} on {r.space}: {r.ended}" for r in runs if r.ended != "budget"})
    return "\n".join([*lines, *(f"Ended early: {line}" for line in ended)]).rstrip() + "\n"


def spread(values: Sequence[float]) -> str:
    """Mean and range."""
    return f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
