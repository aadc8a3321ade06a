"""What is said when Ray does not come up, without one."""

from types import SimpleNamespace

import pytest

from evomerge.errors import UserError
from evomerge.workers.cluster.ray_connection import connect


@pytest.mark.parametrize("kind", [Exception, RuntimeError, ConnectionError])
def test_a_ray_that_cannot_be_started_is_one_line(kind):
    def init(**options):
        raise kind("The current node timed out during startup.\nThis could happen because")

    with pytest.raises(UserError) as caught:
        connect(SimpleNamespace(init=init), "local", {})
    assert str(caught.value) == (
        "workers.address: Ray cannot be started: The current node timed out during startup."
    )
