"""SMM-Bench surrogates: ensembles trained here, saved as the benchmark's files are."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from evomerge.errors import DataError, MissingExtra
from evomerge.optimizers.random import RandomSearch
from evomerge.testing.problems import SmmBench, smm_domain
from evomerge.testing.simulation import drive, trials
from tests.testing.smm_files import NAMES, rows, save

pytest.importorskip("lightgbm")

N_FEATURES = {"ps": 64, "dfs": 95}


@pytest.fixture(params=["ps", "dfs"])
def kind(request):
    return request.param


@pytest.fixture
def saved(tmp_path, kind):
    return {split: save(tmp_path / NAMES[split], kind, i) for i, split in enumerate(NAMES)}


def test_an_accuracy_is_the_mean_of_the_ensemble(tmp_path, kind, saved):
    problem = SmmBench(kind, tmp_path)
    for row in rows(kind, 10, 99):
        values = row.tolist()
        genotype = tuple(values if kind == "ps" else [*(str(int(c)) for c in row[:32]), *row[32:]])
        genotype = problem.domain.checked(genotype)
        train, test = (np.mean(saved[s].predict(row[None])).clip(0, 1) for s in NAMES)
        assert problem.costs(genotype) == (pytest.approx(-train),)
        assert problem.holdout_costs(genotype) == (pytest.approx(-test),)
        assert train != test
        assert problem.completed(3, genotype).outcome.metrics == {"accuracy": pytest.approx(train)}


def test_accuracies_stay_between_0_and_1(tmp_path):
    save(tmp_path / NAMES["train"], "ps", 0, level=4.0)
    save(tmp_path / NAMES["test"], "ps", 1, level=-4.0)
    problem = SmmBench("ps", tmp_path)
    assert problem.costs(problem.domain.initial) == (-1.0,)
    assert problem.holdout_costs(problem.domain.initial) == (0.0,)


def test_the_variables_are_the_benchmarks(kind):
    genes = smm_domain(kind).genes
    continuous = [gene for gene in genes if gene.kind == "continuous"]
    assert len(genes) == N_FEATURES[kind]
    bounds = {"ps": (0.0, 1.0), "dfs": (0.4, 1.5)}[kind]
    assert {(gene.low, gene.high) for gene in continuous} == {bounds}
    assert [len(gene.choices) for gene in genes[:32]] == [3 if kind == "dfs" else 0] * 32
    assert len({gene.name for gene in genes}) == len(genes)


def test_it_can_be_searched(tmp_path, kind, saved):
    problem = SmmBench(kind, tmp_path)
    found = trials(drive(RandomSearch(problem.domain, 1, 0), problem, 30, failure_rate=0.1))
    assert len(found) == 30
    assert len({trial.costs for trial in found}) > 10


def test_a_folder_without_the_files_is_refused(tmp_path):
    save(tmp_path / NAMES["train"], "ps", 0)
    with pytest.raises(DataError, match=r"no test_acc_ja_best_model.json; .*'smm-bench-ps'"):
        SmmBench("ps", tmp_path)
    with pytest.raises(DataError, match=r"no train_acc.* and no test_acc.*'smm-bench-dfs'"):
        SmmBench("dfs", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="'ps' or 'dfs'"):
        SmmBench("both", tmp_path)


def test_files_of_the_other_benchmark_are_refused(tmp_path):
    for name in NAMES.values():
        save(tmp_path / name, "ps", 0)
    with pytest.raises(DataError, match=r"boosters of \[64\] features, expected 95"):
        SmmBench("dfs", tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"best_iteration": 1, "boosters": ["no model"]}',
        b'{"best_iteration": 1, "boosters": [3]}',
        b"PK\x03\x04\x14\x00\xff\xfe",
    ],
)
def test_damaged_files_are_refused(tmp_path, content):
    for name in NAMES.values():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="not an ensemble"):
        SmmBench("ps", tmp_path)


def test_the_extra_is_named(tmp_path, monkeypatch):
    for name in NAMES.values():
        (tmp_path / name).write_text("{}")
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingExtra, match=r"SMM-Bench surrogates.*evomerge\[smm-bench\]"):
        SmmBench("ps", tmp_path)
