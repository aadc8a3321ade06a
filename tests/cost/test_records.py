"""What a run takes on disk, against runs that were really made."""

from __future__ import annotations

import numpy as np
import pytest

from evomerge import zoo
from evomerge.cost import estimate_study
from evomerge.journal import Journal
from evomerge.journal.sizes import Draft, events_bytes, examples_bytes
from evomerge.study import load_study, prepare, start_run

N_TRIALS = 30
SHORT = [
    f"budget.trials={N_TRIALS}",
    "search.population=10",
    "workers.count=1",
    "workers.backend=inline",
    "front.size=8",
    *(f"objectives.{name}.limit=24" for name in ("sort_up", "flip", "count_bits")),
]


def on_disk(paths):
    """Count whole blocks of 4 kB."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in paths)


@pytest.mark.parametrize("more", [[], ["rungs={items: [8], promote: 0.3}"]], ids=["plain", "rungs"])
def test_a_run_of_the_shipped_study_is_as_large_as_foretold(tmp_path, more):
    """A fifth is allowed for: baselines that the search scored, and pages that are not full."""
    config = load_study(zoo.path() / "study.yaml", [*SHORT, *more])
    found = estimate_study(prepare(config, zoo.path())).records
    folder = tmp_path / "run"
    start_run(config, zoo.path(), folder)
    assert found.trials is not None
    assert found.trials.low == found.trials.high == N_TRIALS
    assert found.scores.low * N_TRIALS == pytest.approx(
        on_disk(folder.glob("examples/trial-*.search.json.gz")), rel=0.2
    )
    assert found.total.low == pytest.approx(on_disk(folder.rglob("*.*")), rel=0.2)


@pytest.mark.parametrize("n_items", [1, 300, 20_000])
@pytest.mark.parametrize("binary", [True, False])
def test_scores_take_the_blocks_of_their_file(tmp_path, n_items, binary):
    numbers = np.random.default_rng(3).random(n_items)
    values = numbers.round() if binary else numbers
    names = (f"item-{number}" for number in range(n_items))
    scores = {"x": dict(zip(names, values.tolist(), strict=True))}
    with Journal(tmp_path, create=True) as journal:
        file = journal.write_examples("trial", scores)
    assert examples_bytes(scores) == on_disk([tmp_path / str(file)])
    assert examples_bytes({}) == 0


@pytest.mark.parametrize("n_genes", [3, 400])
def test_events_take_the_pages_of_the_journal(tmp_path, n_genes):
    draft = Draft("asked", {"genotype": np.random.default_rng(4).random(n_genes).tolist()})
    with Journal(tmp_path, create=True) as journal, journal.together():
        for number in range(300):
            journal.append("asked", draft.payload, trial=number)
    # four pages are tables that hold next to nothing
    assert events_bytes([draft], 300) * 300 == pytest.approx(
        on_disk([tmp_path / "journal.sqlite"]) - 4 * 4096, rel=0.05
    )
