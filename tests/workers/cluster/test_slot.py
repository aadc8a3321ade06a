"""A worker's end on its node, without a cluster around it."""

from dataclasses import replace
from pathlib import Path

import pytest

from evomerge.types import Completed, Failed
from evomerge.workers import Job
from evomerge.workers.cluster.models import ModelFolder, read_piece
from evomerge.workers.cluster.slot import Missing, Order, Pending, Ready, Refused, Slot
from tests.workers import fakes
from tests.workers.test_local import RECIPE, SPEC


@pytest.fixture
def slot():
    slot = Slot()
    yield slot
    if slot._executor is not None:
        slot._executor.close()


def started(slot, order, fetch=None):
    answer = Pending()
    while isinstance(answer, Pending):
        answer = slot.start(order, fetch, 5.0)
    return answer


def worked(slot, job):
    answer = slot.work(job, 5.0)
    while isinstance(answer, Pending):
        answer = slot.work(None, 5.0)
    return answer


def test_it_beats_until_it_is_ready_and_while_it_works(slot):
    order = Order(SPEC, build=fakes.slow_to_start)
    assert slot.start(order, None, 0.01) == Pending()
    assert started(slot, order) == Ready()
    assert slot.work(Job("sleep-0.5", RECIPE), 0.01) == Pending()
    assert isinstance(worked(slot, None).outcome, Completed)


def test_a_process_that_dies_or_hangs_is_an_outcome_and_is_replaced(slot):
    order = Order(SPEC, build=fakes.Scripted, timeout_s=1.0)
    assert started(slot, order) == Ready()
    assert worked(slot, Job("kill", RECIPE)).outcome.kind == "lost"
    assert worked(slot, Job("sleep-60", RECIPE)).outcome == Failed(
        "timeout", "the evaluation took longer than 1 s"
    )
    assert isinstance(worked(slot, Job("ok", RECIPE)).outcome, Completed)


def test_a_node_with_other_libraries_is_refused(slot):
    answer = slot.start(Order(SPEC, versions={"numpy": "0.1", "not-there": "1"}), None, 0.1)
    assert isinstance(answer, Refused)
    assert answer.message.startswith("numpy is ")
    assert "0.1 where the search runs" in answer.message


def test_a_node_without_the_study_is_refused_unless_the_study_comes_along(slot, tmp_path):
    spec = replace(SPEC, folder=tmp_path / "gone")
    answer = slot.start(Order(spec, build=fakes.Scripted), None, 0.1)
    assert isinstance(answer, Refused)
    assert "working_dir: ." in answer.message
    assert started(slot, Order(spec, build=fakes.Scripted, ships_folder=True)) == Ready()


def test_what_a_worker_refuses_is_said_in_its_words(slot):
    assert started(slot, Order(SPEC, build=fakes.refuses)) == Refused(
        "models.base: ./gone does not exist"
    )


def test_models_are_copied_when_they_are_not_here(slot, tmp_path, monkeypatch):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    found = ModelFolder.of(folder, allow_pickle=False)
    monkeypatch.setattr(ModelFolder, "is_here", lambda self: False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    order = Order(SPEC, models={("m", None): found}, build=fakes.ReadsModel)
    assert slot.start(order, None, 0.1) == Missing()
    assert started(slot, order, read_piece) == Ready()
    (path,) = worked(slot, Job("j", RECIPE)).outcome.metrics
    assert path != str(folder)
    assert [file.name for file in Path(path).iterdir()] == ["config.json"]
