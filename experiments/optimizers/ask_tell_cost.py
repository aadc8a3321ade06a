"""What an ask and a tell cost: mean and maximum in milliseconds, and how they grow.

    python experiments/optimizers/ask_tell_cost.py mobo
    python experiments/optimizers/ask_tell_cost.py map --points 50 100 200 --genes 5 10
    python experiments/optimizers/ask_tell_cost.py mm_mo --option initial=10 --option batch=5
    python experiments/optimizers/ask_tell_cost.py nested_map --known --genes 10 --last 100

Each line is a search of its own: N trials are asked for and told, one at a time, and of these the
last `--last` asks with their tells are timed, so that the model has seen N trials. The objectives
are smooth scores between 0 and 1, of which as many peaks as there are objectives lie at different
places; they are declared as accuracies of 400 items. One process, one thread. The first proposal
loads what an optimizer needs and is not timed.

Who makes several proposals at once works in the first ask for one of these, or in the last tell of
a generation: the maximum is the whole of it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import yaml
from threadpoolctl import threadpool_limits

from evomerge.allocation import keep_freed_memory
from evomerge.errors import UserError
from evomerge.optimizers import build_optimizer
from evomerge.optimizers.protocol import Optimizer
from evomerge.spaces.domain import Domain, Gene, Seed
from evomerge.types import Completed, Objective, Trial

N_ITEMS = 400


def domain_of(n_genes: int, *, known: bool) -> Domain:
    """Return weights of a linear merge, on demand with the base and the donors as known points."""
    genes = tuple(Gene(f"weight[{i}]", low=0.0, high=1.0, initial=0.5) for i in range(n_genes))
    rows = {"base": np.zeros(n_genes)} | {f"donor{i}": row for i, row in enumerate(np.eye(n_genes))}
    seeds = tuple(Seed(name, tuple(row.tolist())) for name, row in rows.items() if known)
    return Domain(genes, seeds, linear=True)


def objectives_of(n_objectives: int) -> tuple[Objective, ...]:
    """Return accuracies."""
    return tuple(
        Objective(f"task{k}", "maximize", (0.0, 1.0), N_ITEMS) for k in range(n_objectives)
    )


def scores(genotype: tuple[float, ...], n_objectives: int) -> tuple[float, ...]:
    """Return an accuracy for each objective, highest at a corner of its own."""
    x = np.array(genotype)
    result = []
    for k in range(n_objectives):
        peak = 0.25 + 0.5 * ((np.arange(len(x)) + k) % n_objectives == 0)
        share = 0.95 * np.exp(-2 * np.mean((x - peak) ** 2))
        result.append(round(float(share) * N_ITEMS) / N_ITEMS)
    return tuple(result)


def search(
    optimizer: Optimizer, n_objectives: int, n_trials: int, clock: Callable[[], float]
) -> list[float]:
    """Return the seconds that each trial's ask and tell took."""
    objectives = objectives_of(n_objectives)
    taken = []
    for number in range(n_trials):
        begin = clock()
        proposal = optimizer.ask(number)
        asked = clock() - begin
        if proposal is None:
            break
        metrics = scores(proposal.genotype, n_objectives)
        costs = tuple(o.cost(metric) for o, metric in zip(objectives, metrics, strict=True))
        named = {o.name: metric for o, metric in zip(objectives, metrics, strict=True)}
        trial = Trial(number, proposal.genotype, Completed(named), costs)
        begin = clock()
        optimizer.tell(trial)
        taken.append(asked + clock() - begin)
    return taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("optimizer")
    parser.add_argument("--points", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--objectives", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--genes", type=int, nargs="+", default=[5, 10, 20, 40])
    parser.add_argument("--last", type=int, default=10, help="trials that are timed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--start", type=float, help="share of the points that the option `initial` makes a start of"
    )
    parser.add_argument(
        "--known",
        action="store_true",
        help="begin with the base and the donors, as nested_map must",
    )
    parser.add_argument("--cpu", action="store_true", help="processor time: on a busy machine")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu else time.perf_counter
    options = {}
    for text in arguments.option:
        name, _, value = text.partition("=")
        options[name] = yaml.safe_load(value)
    keep_freed_memory()  # as in a run
    print(f"{'genes':>6}{'objectives':>12}{'points':>8}{'mean ms':>11}{'max ms':>9}")
    for n_genes in arguments.genes:
        for n_objectives in arguments.objectives:
            for n_points in arguments.points:
                if arguments.start is not None:
                    options["initial"] = int(arguments.start * n_points)
                case = f"{n_genes:>6}{n_objectives:>12}{n_points:>8}"
                try:
                    optimizer = build_optimizer(
                        arguments.optimizer,
                        domain_of(n_genes, known=arguments.known),
                        n_objectives,
                        arguments.seed,
                        options,
                        objectives=objectives_of(n_objectives),
                        budget=n_points + arguments.last,
                    )
                except UserError as error:  # it does not take so few points, or so many genes
                    print(f"{case}  refused: {error}", flush=True)
                    continue
                with threadpool_limits(1, user_api="blas"):  # as in a run
                    taken = search(optimizer, n_objectives, n_points + arguments.last, clock)
                last = [1000 * seconds for seconds in taken[1:][-arguments.last :]]
                print(f"{case}{statistics.fmean(last):>11.1f}{max(last):>9.1f}", flush=True)


if __name__ == "__main__":
    main()
