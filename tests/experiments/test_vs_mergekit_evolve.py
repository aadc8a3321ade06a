"""The speed comparison: its arms score the same, and what differs is known to the bit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.experiments.lab import modules_of

pytest.importorskip("mergekit")
pytest.importorskip("lm_eval")

FOLDER = Path(__file__).parents[2] / "experiments" / "vs_mergekit_evolve"
pytestmark = pytest.mark.filterwarnings("ignore")  # of mergekit and the harness


@pytest.fixture(scope="module")
def lab():
    names = ("arm", "clock", "compare", "ours", "tables", "theirs", "workload")
    with modules_of(FOLDER, *names) as modules:
        yield SimpleNamespace(**dict(zip(names, modules, strict=True)))


@pytest.fixture(scope="module")
def workload(lab, tmp_path_factory):
    folder = tmp_path_factory.mktemp("speed") / "workload"
    return lab.workload.build(folder, size="zoo", items=12, candidates=2)


@pytest.fixture(scope="module")
def on_disk(lab, workload):
    """What mergekit-evolve's first strategy scores, at batch sizes 1 and 16."""
    found = {}
    for rows in (None, 16):
        evaluator = lab.theirs.OnDisk(workload, rows)
        found[rows or 1] = [evaluator.evaluate(genotype) for genotype in workload.genotypes]
    assert found[1][0] != found[1][1]  # else equality says little
    return found


def searched(lab, workload, objectives, out):
    done = []
    scores = lab.ours.search(
        workload, objectives, out, backend="inline", finished=lambda: done.append(1)
    )
    assert len(done) == len(workload.genotypes)
    return scores


@pytest.mark.parametrize("batch_size", [1, 16])
def test_a_run_scores_what_lm_eval_scores_on_mergekits_folders(
    lab, workload, on_disk, batch_size, tmp_path
):
    objectives = workload.harness_objectives(batch_size=batch_size)
    assert searched(lab, workload, objectives, tmp_path / "run") == on_disk[batch_size]


def test_fitnesses_without_the_harness_score_the_same_items(lab, workload, on_disk, tmp_path):
    found = searched(lab, workload, workload.own_objectives(16), tmp_path / "run")
    assert found == on_disk[16]


def test_in_memory_differs_by_its_rotary_frequencies_alone(lab, workload, on_disk):
    import torch  # noqa: PLC0415

    evaluator = lab.theirs.InMemory(workload, 1)
    rotary = evaluator._model.model.model.rotary_emb
    assert rotary.inv_freq.dtype == torch.bfloat16  # of `.bfloat16()`, which casts buffers too
    exponents = torch.arange(0, 32, 2, dtype=torch.float32) / 32
    rotary.inv_freq = 1.0 / 10000.0**exponents
    assert [evaluator.evaluate(one) for one in workload.genotypes] == on_disk[1]


def test_parts_cover_a_candidate(lab, workload):
    found = lab.arm.shares(workload)
    assert set(found) == set(lab.tables.ORDER)
    assert all(value > 0 for part in found.values() for value in part.values())


def test_time_within_a_part_counts_once(lab, monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr(lab.clock.time, "process_time", lambda: float(next(now)))
    monkeypatch.setattr(lab.clock.time, "perf_counter", lambda: 0.0)

    class Work:
        def outer(self):
            self.inner()

        def inner(self):
            pass

    parts = lab.clock.Parts("rest")
    with parts.watching(Work, "outer", "outer"), parts.watching(Work, "inner", "within {}"):
        Work().outer()
    # One second passes between any two looks at the clock.
    found = {part: spent.cpu_s for part, spent in parts.read().items()}
    assert found == {"rest": 2.0, "outer": 2.0, "within outer": 1.0}


def test_differing_scores_are_refused(lab):
    rows = [
        {"arm": name, "repeat": 0, "scores": [{"flip": score}]}
        for name, score in (("disk-16", 0.5), ("ours-16", 0.5), ("memory-16", 0.6))
    ]
    lab.compare.require_equal(rows)
    rows[1]["scores"] = [{"flip": 0.25}]
    with pytest.raises(RuntimeError, match="'ours-16' and 'disk-16' do not score the same"):
        lab.compare.require_equal(rows)
