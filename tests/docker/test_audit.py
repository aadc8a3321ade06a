"""The audit of dependencies is never silent about what it did not see."""

import runpy
import subprocess
from pathlib import Path

import pytest

AUDIT = runpy.run_path(str(Path(__file__).parents[2] / ".ci" / "audit.py"))
FLAW = {"id": "PYSEC-1", "fix_versions": ["2"]}


@pytest.mark.parametrize(
    ("found", "code", "words"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, "1 packages audited, none known"),
        ([{"name": "a", "version": "1", "vulns": [FLAW]}], 1, "a 1: PYSEC-1, mended in 2"),
        (
            [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "?"}],
            0,
            "not audited: 1 (b)",
        ),
        (
            [{"name": "a", "version": "1", "vulns": [FLAW]}, {"name": "b", "skip_reason": "?"}],
            1,
            "flaws known",
        ),
        ([{"name": "b", "skip_reason": "?"}], 3, "SKIPPED: the service knows none of 1 packages"),
    ],
)
def test_what_was_audited_is_said(capsys, found, code, words):
    assert AUDIT["report"](found) == code
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("out", "err", "code", "words"),
    [
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', "", 0, "none known"),
        ("", "ERROR: could not connect", 3, "SKIPPED: the service does not answer (ERROR"),
        ("", "python: No module named pip_audit", 1, "failed: python: No module named pip_audit"),
        ("", "ERROR: docker/requirements.txt is not pinned", 1, "failed: ERROR: docker/req"),
    ],
)
def test_a_service_that_does_not_answer_is_no_clean_audit(
    capsys, monkeypatch, out, err, code, words
):
    asked = []

    def answer(command, **_):
        asked.extend(command)
        return subprocess.CompletedProcess(command, 1, out, err)

    monkeypatch.setattr(subprocess, "run", answer)
    assert AUDIT["main"]() == code
    assert words in capsys.readouterr().out
    assert {"docker/requirements.txt", "docker/requirements-cuda.txt"} <= set(asked)
