"""The test-bed's searches, what is read of them, and SMM-Bench among them."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import spearmanr

from evomerge.errors import DataError
from evomerge.testing.problems import SmmBench
from tests.experiments.lab import modules_of
from tests.testing.smm_files import NAMES, save

FOLDER = Path(__file__).parents[2] / "experiments" / "optimizers"


@pytest.fixture(scope="module")
def lab():
    names = ("benchmark", "layered", "many_donors", "many_genes", "one_objective", "pages", "rows")
    with modules_of(FOLDER, *names) as modules:
        yield SimpleNamespace(**dict(zip(names, modules, strict=True)))


def read(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_searches_are_carried_out_once_and_say_which_code_did(lab, tmp_path, monkeypatch):
    file = tmp_path / "two" / "sobol.jsonl"
    arm, pose = lab.benchmark.ARMS["sobol"], lab.benchmark.noisy("two")
    for n_seeds in (1, 2, 2):
        seeds = range(1, n_seeds + 1)
        lab.benchmark.run_arm(arm, pose, seeds, (5, 10), file, lab.benchmark.worth)
    rows = read(file)
    assert [row["seed"] for row in rows] == [1, 2]
    assert all(0 < row["curve"]["5"] <= row["curve"]["10"] < 1.1 for row in rows)
    git = ("git", "-C", str(FOLDER), "rev-parse", "--short", "HEAD")
    said = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    assert {(row["commit"] or "").removesuffix("+") for row in rows} == {said}


def test_code_outside_of_a_checkout_has_no_name(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(lab.benchmark, "__file__", str(tmp_path / "benchmark.py"))
    assert lab.benchmark.commit.__wrapped__() is None


@pytest.fixture
def smm_bench(tmp_path):
    pytest.importorskip("lightgbm")
    for kind in ("ps", "dfs"):
        folder = tmp_path / "files" / f"smm-bench-{kind}"
        folder.mkdir(parents=True)
        for seed, name in enumerate(NAMES.values()):
            save(folder / name, kind, seed)
    return tmp_path / "files"


def test_smm_bench_is_searched_and_has_columns_of_its_own(lab, smm_bench, tmp_path, monkeypatch):
    monkeypatch.setattr(lab.one_objective, "BUDGETS", (5, 10))
    out = tmp_path / "out"
    words = ["run", "--smm-bench", smm_bench, "--optimizers", "cma_es", "sobol", "--seeds", "2"]
    monkeypatch.setattr("sys.argv", ["one_objective.py", *map(str, words), "--out", str(out)])
    lab.one_objective.main()
    found = {str(file.relative_to(out)) for file in out.glob("*/*.jsonl")}
    # CMA-ES takes no choices of three, and so not the paths
    assert found == {f"smm-bench-{name}.jsonl" for name in ("ps/cma_es", "ps/sobol", "dfs/sobol")}
    problem = SmmBench("ps", smm_bench / "smm-bench-ps")
    initial = -problem.costs(problem.domain.initial)[0]
    for row in read(out / "smm-bench-ps" / "sobol.jsonl"):
        assert initial - 1e-5 <= row["curve"]["5"] <= row["curve"]["10"] <= 1
    table = list(lab.one_objective.report_lines(out))
    assert "| arm | smm-bench-ps (64 genes) | smm-bench-dfs (95 genes) |" in table
    assert sum("(n = 2)" in line for line in table) == 2 * 2


def test_a_folder_without_smm_bench_is_refused(lab, tmp_path):
    pytest.importorskip("lightgbm")
    with pytest.raises(DataError, match="expected the unzipped folder 'smm-bench-ps'"):
        lab.one_objective.smm_poses(tmp_path)


def rows_with(values, budget=30):
    return [
        {"seed": seed, "budget": budget, "budgets": [budget], "curve": {str(budget): value}}
        for seed, value in values
    ]


def test_rows_that_disagree_are_named(lab, tmp_path, capsys):
    file = tmp_path / "smac.jsonl"
    rows = rows_with([(1, 0.5), (2, 0.5), (2, 0.5), (3, 0.5), (3, 0.6)])
    longer = {"seed": 1, "budget": 60, "budgets": [60], "curve": {"30": 0.4, "60": 0.7}}
    lines = [json.dumps(row) + "\n" for row in [*rows, longer]]
    file.write_text("".join(lines) + lines[0][:20])  # a search that was interrupted as it ended
    found = lab.pages.rows_of(file, told=False)
    assert lab.pages.values_at(found, "smac", 30) == {1: 0.4, 2: 0.5, 3: 0.6}
    said = "smac.jsonl: after 30 evaluations rows of seed {} differ and the latest counts; "
    assert said.format("1, 3") in capsys.readouterr().err
    assert file.read_text().endswith(lines[0][:20])
    lab.pages.rows_of(file, told=True)  # then a longer search is another one
    assert said.format("3") in capsys.readouterr().err
    lab.rows.cut_incomplete(file)
    assert file.read_text() == "".join(lines)


def test_an_arm_with_fewer_seeds_is_not_ranked(lab):
    random = np.random.default_rng(0)
    worth = {"nsga2": 0.1, "sobol": 0.2, "random": 0.3}
    searches = {
        (problem, arm): rows_with((seed, mean + 0.01 * random.random()) for seed in range(20))
        for problem in ("two", "three")
        for arm, mean in worth.items()
    }
    searches["three", "random"] = searches["three", "random"][:10]
    table = list(lab.pages.rank_lines(searches, (30, 60), "both", ("two", "three")))
    assert table[2:] == [
        "| arm | 30 evaluations |",
        "|---|---:|",
        "| sobol | 1.0 [1.0, 1.0] |",
        "| nsga2 | 2.0 [2.0, 2.0] |",
        "| arms ranked | 2 |",
        "| seeds | 20 |",
        "",
    ]
    for key, rows in searches.items():
        searches[key] = rows[:5]
    assert "| seeds | 5 |" in lab.pages.rank_lines(searches, (30,), "both", ("two", "three"))


@pytest.mark.parametrize("size", [48, 96])
def test_the_front_of_many_weights_is_exact(lab, size):
    problem = lab.layered.Layered(size)
    front = problem.front_costs()
    assert problem.normalised_hypervolume(front) == pytest.approx(1)
    assert front[[0, -1]].min(axis=0) == pytest.approx(front.min(axis=0))
    random = np.random.default_rng(0)
    weights = random.uniform(0, 1.5, (2000, size))
    costs = np.array([problem.expected_costs(tuple(one)) for one in weights.tolist()])
    for share in (0.1, 0.5, 0.9):  # what is linear in -logit(accuracy) is found by descent

        def cost(point, share=share):
            floor, width = lab.layered.FLOOR, lab.layered.RANGE
            p = (-np.array(problem.expected_costs(tuple(point))) - floor) / width
            return float(np.array([share, 1 - share]) @ np.log(1 / p - 1))

        found = minimize(cost, np.full(size, 0.5), bounds=[(0.0, 1.5)] * size)
        costs = np.vstack([costs, problem.expected_costs(tuple(found.x))])
        assert np.abs(front - costs[-1]).max(axis=1).min() < 2e-3
    # none is beyond the front, but by what its 1001 points leave between them
    dominated = (front[None] <= costs[:, None] + 1e-3).all(axis=2).any(axis=1)
    assert dominated.all()


def test_few_of_many_weights_matter_and_which_is_known(lab):
    problem = lab.layered.Layered(48)
    moved = {}
    for place, gene in enumerate(problem.domain.genes):
        off, on = list(problem.domain.initial), list(problem.domain.initial)
        off[place], on[place] = 0.0, 1.0
        difference = np.subtract(
            problem.expected_costs(tuple(on)), problem.expected_costs(tuple(off))
        )
        moved[gene.name] = np.abs(difference).sum()
    order = sorted(moved, key=moved.get, reverse=True)
    assert sum(moved[name] for name in order[:12]) > 0.7 * sum(moved.values())
    importance = problem.importance
    ranks = spearmanr([importance[name] for name in order], [moved[name] for name in order])
    assert ranks.statistic > 0.9


def test_noise_of_many_weights_is_that_of_64_items(lab):
    genotype = lab.layered.Layered(48).domain.initial
    told = np.array(
        [lab.layered.Layered(48, seed=seed).completed(0, genotype).costs for seed in range(400)]
    )
    again = lab.layered.Layered(48, seed=399).completed(7, genotype).costs
    assert again == tuple(told[-1])
    accuracy = -np.array(lab.layered.Layered(48).expected_costs(genotype))
    error = np.sqrt(accuracy * (1 - accuracy) / 64)
    assert (np.abs(-told.mean(axis=0) - accuracy) < 4 * error / 20).all()
    assert told.std(axis=0) == pytest.approx(error, rel=0.15)


def test_many_weights_are_searched_and_compared(lab, tmp_path, monkeypatch):
    pytest.importorskip("botorch")
    monkeypatch.setattr(lab.many_genes, "BUDGETS", (5, 10))
    assert list(lab.many_genes.report_lines(tmp_path)) == ["No search has been carried out."]
    words = ["run", "--optimizers", "mobo-saas", "sobol", "--sizes", "48", "--seeds", "2"]
    budgets = ["--budgets", "5", "10", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["many_genes.py", *words, *budgets])
    lab.many_genes.main()
    assert len(read(tmp_path / "layered-48" / "sobol.jsonl")) == 2
    table = list(lab.many_genes.report_lines(tmp_path))
    assert sum("(n = 2)" in line for line in table) == 2 * 2
    assert "#### Seconds of asking and telling, 10 evaluations" in table
    told = lab.many_genes.arms_of(lab.layered.Layered(48))["mobo-importance"]
    assert told.build(lab.layered.Layered(48), 0, 30).n_start == 15


@pytest.mark.parametrize("name", ["8 donors, 2 tasks", "16 donors, 3 tasks"])
def test_no_merge_of_many_donors_is_beyond_the_front(lab, name):
    problem = lab.many_donors.ManyDonors(name, seed=2)
    front = np.array(problem.front_costs)
    assert problem.normalised_hypervolume(front) == pytest.approx(1)
    random = np.random.default_rng(0)
    sparse = random.uniform(0, 1.5, (2000, len(problem.domain))) * random.random((2000, 1)) ** 2
    costs = np.array([problem.expected_costs(tuple(one)) for one in sparse.tolist()])
    gap = 0.01 if front.shape[1] == 2 else 0.03  # between the points of the front
    assert (front[None] <= costs[:, None] + gap).all(axis=2).any(axis=1).all()
    for share in (0.2, 0.6):  # of logits, without the derivatives that the script gives
        weighting = np.full(front.shape[1], (1 - share) / (front.shape[1] - 1))
        weighting[0] = share

        def cost(point, weighting=weighting):
            p = -np.array(problem.expected_costs(tuple(point)))
            return float(weighting @ np.log(1 / p - 1))

        bounds = [(0.0, 1.5)] * len(problem.domain)
        found = minimize(cost, np.full(len(bounds), 0.1), bounds=bounds)
        best = np.array(problem.expected_costs(tuple(found.x)))
        assert np.abs(front - best).max(axis=1).min() < gap
        told = np.log(-front / (1 + front)) @ weighting
        assert told.max() == pytest.approx(-found.fun, abs=0.01)


def test_many_donors_are_searched_and_compared(lab, tmp_path, monkeypatch, capsys):
    words = ["run", "--optimizers", "nested_map", "random", "--seeds", "2", "--budgets", "60"]
    monkeypatch.setattr("sys.argv", ["many_donors.py", *words, "--out", str(tmp_path)])
    lab.many_donors.main()
    assert "16 donors, 2 tasks nested_map: left out" in capsys.readouterr().out
    for tasks in (2, 3):
        rows = read(tmp_path / f"8 donors, {tasks} tasks" / "nested_map.jsonl")
        assert [row["seed"] for row in rows] == [1, 2]
    table = list(lab.many_donors.report_lines(tmp_path))
    assert sum("(n = 2)" in line for line in table) == 3  # two arms and their difference
