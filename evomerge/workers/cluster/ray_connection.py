"""Connections to Ray: started or found, quiet, with its authentication as it is."""

from __future__ import annotations

import logging
import os
import platform
import re
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from evomerge.errors import MissingExtra, UserError
from evomerge.workers.cluster.protocol import Node
from evomerge.workers.machine import available_cores, available_gpus, physical_memory

PROBE_S = 5.0
OBJECT_STORE_BYTES = 128 << 20


def this_machine() -> Node:
    """Describe this machine as the one node of a Ray of our own."""
    resources = {"CPU": float(available_cores()), "memory": float(physical_memory())}
    gpus = available_gpus()
    return Node("", platform.node(), resources | ({"GPU": float(gpus)} if gpus else {}))


def import_ray() -> Any:
    """Import Ray, told not to write what its machinery logs into our output."""
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
    try:
        import ray  # noqa: PLC0415 an extra, and slow to import
    except ImportError:
        raise MissingExtra("workers: backend 'ray'", "ray") from None
    return ray


def connect(ray: Any, address: str, environment: Mapping[str, Any]) -> None:
    """Connect to a cluster, or start one here.

    Args:
        ray: the module.
        address: see `ClusterSpec`.
        environment: of the workers, with absolute paths.

    Raises:
        UserError: the cluster cannot be reached or used, in one line.
    """
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    own: dict[str, Any] = {}
    if address == "local":
        machine = this_machine().resources
        own = {
            "num_cpus": int(machine["CPU"]),
            "num_gpus": int(machine.get("GPU", 0)),
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
    else:
        _probe(address)
    try:
        with kept_signals(), _silence():
            ray.init(address=address, runtime_env=dict(environment) or None, **own, **quiet)
    except Exception as error:  # Ray raises bare ones too, where a machine is overloaded
        if _is_about_tokens(error):
            raise UserError(
                f"workers.address: the Ray cluster at '{address}' asks for another token; set "
                "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to its own"
            ) from error
        what = "cannot be started" if own else f"at '{address}' cannot be used"
        raise UserError(f"workers.address: Ray {what}: {first_line(error)}") from error


def _is_about_tokens(error: BaseException | None) -> bool:
    """Say whether authentication is what failed, here or in what led to it."""
    while error is not None:
        if "authenticat" in str(error).lower():
            return True
        error = error.__cause__ or error.__context__
    return False


def _probe(address: str) -> None:
    """Refuse an address at which nobody listens; Ray itself would try for minutes.

    Raises:
        UserError: saying how to mend it.
    """
    from ray._private.services import canonicalize_bootstrap_address  # noqa: PLC0415

    try:
        with _silence():
            found = canonicalize_bootstrap_address(address)
        _knock(str(found))
    except ConnectionError as error:
        if address != "auto":
            raise UserError(_unreachable(address, error)) from error
        raise UserError(
            "workers.address: no Ray cluster runs here; start one with 'ray start --head', set "
            "RAY_ADDRESS, or say address: local"
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(_unreachable(address, error)) from error


def is_listening(address: str) -> bool:
    """Say whether anybody listens at host:port."""
    try:
        _knock(address)
    except OSError:
        return False
    return True


def _knock(address: str) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_S).close()


def _unreachable(address: str, error: Exception) -> str:
    return (
        f"workers.address: no Ray cluster answers at '{address}' ({first_line(error)}); "
        "'ray status' on its head node says its address, host:port"
    )


@contextmanager
def kept_signals() -> Iterator[None]:
    """Keep the handler of SIGTERM, which Ray replaces by one that ends the process."""
    try:
        before = signal.getsignal(signal.SIGTERM)
        yield
    finally:
        with suppress(ValueError):  # outside the main thread neither Ray nor we can set one
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep what Ray's machinery writes to standard error itself from the user's screen.

    Whatever goes wrong is raised too.
    """
    sys.stderr.flush()
    screen = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(screen, 2)
        os.close(screen)


def with_absolute_paths(environment: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Let relative paths of a runtime environment start at the study's folder."""

    def place(path: Any) -> Any:
        is_local = isinstance(path, str) and "://" not in path
        return str((folder / Path(path).expanduser()).resolve()) if is_local else path

    found = dict(environment)
    if "working_dir" in found:
        found["working_dir"] = place(found["working_dir"])
    if "py_modules" in found:
        found["py_modules"] = [place(path) for path in found["py_modules"]]
    return found


def with_variables(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Let `env_vars: {NAME: ${OTHER}}` of a runtime environment be read from the driver's own.

    A study is recorded, and is no place for a secret that workers need.

    Raises:
        UserError: there is no such variable.
    """
    found = dict(environment)
    if isinstance(found.get("env_vars"), Mapping):
        found["env_vars"] = {name: _value(value) for name, value in found["env_vars"].items()}
    return found


def _value(text: Any) -> Any:
    named = re.fullmatch(r"\$\{(\w+)\}", text) if isinstance(text, str) else None
    if named is None:
        return text
    if named[1] not in os.environ:
        raise UserError(f"workers.runtime_env: the environment has no variable {named[1]}; set it")
    return os.environ[named[1]]


def first_line(error: Exception) -> str:
    """Return the first line of what an error says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
