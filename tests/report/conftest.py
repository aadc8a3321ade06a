"""Fronts to report on, built once."""

from __future__ import annotations

import pytest

from evomerge.report import Analysis, Front, analyse
from tests.report.fronts import build_front


@pytest.fixture(scope="session", params=[1, 2, 3, 4])
def any_front(request: pytest.FixtureRequest) -> Front:
    """Fronts of every number of objectives that is drawn in its own way."""
    return build_front(request.param)


@pytest.fixture(scope="session")
def front() -> Front:
    """A front of two objectives with hold-out scores."""
    return build_front(2)


@pytest.fixture(scope="session")
def analysis(front: Front) -> Analysis:
    return analyse(front)
