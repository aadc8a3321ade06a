"""What the harness logs while it works for us: errors alone, and no logger is touched."""

import logging

import pytest

from evomerge.fitness.lm_eval.tasks import hushed


@pytest.fixture(autouse=True)
def _as_it_comes():
    harness = logging.getLogger("lm_eval")
    level = harness.level
    harness.setLevel(logging.NOTSET)
    yield
    harness.setLevel(level)


def logged():
    """Log a line of each kind, by the harness and by somebody else."""
    for name in ("lm_eval.api.task", "lm_eval", "lm_eval_of_mine"):
        logging.getLogger(name).warning("%s warns", name)
    logging.getLogger("lm_eval.api.task").error("an error")


def test_only_errors_show_and_only_for_a_while(caplog):
    with hushed(), hushed():
        logged()
    assert [record.getMessage() for record in caplog.records] == [
        "lm_eval_of_mine warns",
        "an error",
    ]
    with hushed():
        pass
    caplog.clear()
    logged()
    assert len(caplog.records) == 4


def test_no_level_changes_and_no_logger_forgets_its_own():
    other, harness = logging.getLogger("somebody.else"), logging.getLogger("lm_eval")
    other.isEnabledFor(logging.INFO)
    level, known = harness.level, dict(other._cache)
    assert known
    with hushed():
        assert harness.level == level
        assert other._cache == known
    assert other._cache == known


def test_without_any_handler_the_last_resort_is_hushed_too(monkeypatch, capsys):
    for name in ("", "lm_eval", "lm_eval.api", "lm_eval.api.task"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
    with hushed():
        logging.getLogger("lm_eval.api.task").warning("a warning")
    assert "a warning" not in capsys.readouterr().err
    logging.getLogger("lm_eval.api.task").warning("a warning")
    assert "a warning" in capsys.readouterr().err
