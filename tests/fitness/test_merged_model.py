"""What a merged model does beside answering: files, distance, items."""

import pytest

from evomerge.errors import FitnessError

from .tiny import DELTA, merged_model


def test_path_is_written_once_and_removed():
    written = []

    def write(path):
        assert not path.exists()
        path.mkdir()
        (path / "config.json").write_text("{}")
        written.append(path)

    with merged_model(write=write) as model:
        path = model.path()
        assert model.path() == path
        assert (path / "config.json").is_file()
    assert written == [path]
    assert not path.parent.exists()


def test_a_failed_write_is_tried_again_and_leaves_nothing():
    attempts = []

    def write(path):
        attempts.append(path)
        if len(attempts) == 1:
            raise OSError("disk full")
        path.mkdir()

    model = merged_model(write=write)
    with pytest.raises(OSError, match="disk full"):
        model.path()
    path = model.path()
    model.close()
    assert len(attempts) == 2
    assert not path.parent.exists()
    model.close()


def test_delta_is_measured_once():
    calls = []

    def delta():
        calls.append(1)
        return DELTA

    model = merged_model(delta=delta)
    assert model.delta() is model.delta() is DELTA
    assert len(calls) == 1


def test_items_and_their_ids():
    model = merged_model(items=[{"id": "a"}, {"id": "b"}], split="holdout")
    assert model.item_ids == ("a", "b")
    assert (model.split, len(model.items)) == ("holdout", 2)
    assert merged_model().item_ids == ()


def test_charges_add_up_and_make_sense():
    model = merged_model()
    model.charge(0.5)
    model.charge(0)
    assert model.charged == 0.5
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(FitnessError, match="finite amount"):
            model.charge(wrong)
