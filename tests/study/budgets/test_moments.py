"""Deadlines: times as users write them."""

import os
import time
from datetime import UTC, datetime

import pytest

from evomerge.errors import ConfigError, UserError
from evomerge.study import load_study
from evomerge.study.budgets.gauges import span
from evomerge.study.budgets.moments import checked_moment, fixed_deadline, moment_of


@pytest.fixture
def berlin(monkeypatch):
    """The local zone, where clocks go back on 25 October 2026 at three."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    os.environ.pop("TZ", None)
    time.tzset()


def at(text):
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("now", "deadline", "meant"),
    [
        ("2026-06-10T23:00+02:00", "07:30", "2026-06-11T07:30+02:00"),
        ("2026-06-10T06:00+02:00", "07:30", "2026-06-10T07:30+02:00"),
        ("2026-06-10T07:30+02:00", "7:30", "2026-06-11T07:30+02:00"),
        ("2026-10-24T23:00+02:00", "07:30", "2026-10-25T07:30+01:00"),  # a longer night
        ("2026-03-28T23:00+01:00", "07:30", "2026-03-29T07:30+02:00"),  # a shorter one
        ("2026-06-10T23:00+02:00", "2026-06-12T05:00Z", "2026-06-12T07:00+02:00"),
    ],
)
def test_the_next_time_it_is_that_late_here(berlin, now, deadline, meant):
    assert moment_of(deadline, at(now)) == at(meant)
    fixed = fixed_deadline(deadline, at(now))
    assert (at(fixed), moment_of(fixed, at("2031-01-01T00:00Z"))) == (at(meant), at(meant))


def test_a_deadline_that_is_over_is_refused():
    now = datetime(2026, 6, 10, tzinfo=UTC).timestamp()
    with pytest.raises(UserError, match="is over"):
        fixed_deadline("2026-06-09T23:59Z", now)


@pytest.mark.parametrize("wrong", ["24:00", "7.30", "tomorrow", "2026-06-10T07:30", "", 7.5, True])
def test_what_is_no_time_is_refused(wrong):
    with pytest.raises(ValueError, match="07:30"):
        checked_moment(wrong)


def test_yaml_takes_an_unquoted_time_for_a_number_and_the_error_says_so(tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text(
        "name: a\nmodels: {base: b, donors: {c: d}}\nspace: ties\n"
        "objectives: {x: {fitness: l1_distance}}\nbudget:\n  deadline: 17:30\n"
    )
    with pytest.raises(ConfigError, match=r"study\.yaml:6: budget\.deadline: .*in quotes"):
        load_study(study)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3, "3 s"), (60, "1 min"), (3599, "59 min"), (7500, "2 h 5 min"), (90000, "1 d 1 h")],
)
def test_spans_in_words(seconds, words):
    assert span(seconds) == words
