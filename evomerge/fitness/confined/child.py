"""The process that runs one program and its tests: walls itself in, obeys its parent, reports.

Messages over one socket, each four bytes of length and then its content:

    parent -> child     settings: numbers, see `_wall_in`
    child  -> parent    'ready', or why the walls cannot be built
    parent -> child     the program
    child  -> parent    'ran', or what it raised
    parent -> child     the tests
    child  -> parent    'tested', or what they raised
    parent -> child     a number nobody knew before
    child  -> parent    the same number: all is done

A program that ends the process early, in whatever way and with whatever exit code, does not get to
the last message. Functions of the standard library are taken hold of before the program runs, so
that one which replaces them for its own ends does not break the protocol by accident. Little is
imported, because a search starts this process tens of thousands of times.
"""

from __future__ import annotations

import os
import resource
import sys

from . import walls

_MOST = 300  # characters of an exception worth reading
_read, _write, _exit, _exec, _compile = os.read, os.write, os._exit, exec, compile

# Users that no one logs in as: systemd keeps the range for services that live for a moment.
_FIRST_USER, _N_USERS = 61184, 4336
_THREADS = 64


def main() -> None:
    """Run what file descriptor `sys.argv[2]` asks for."""
    channel = int(sys.argv[2])
    settings = [int(number) for number in _receive(channel).split()]
    try:
        _wall_in(*settings)
    except (OSError, ValueError) as error:
        _send(channel, f"cannot: {error}".encode())
        return
    module = type(sys)("program")
    sys.modules["program"] = module  # dataclasses and pickle look it up
    _send(channel, b"ready")
    for what in ("program", "tests"):
        source = _receive(channel)
        if b"random" in source:
            __import__("random").seed(0)
        try:
            _exec(_compile(source, f"<{what}>", "exec", dont_inherit=True), module.__dict__)
        except BaseException as error:  # noqa: BLE001 -- SystemExit too is the program's doing
            _send(channel, _described(what, error))
            _exit(0)
        _send(channel, b"ran" if what == "program" else b"tested")
    _send(channel, _receive(channel))
    _exit(0)  # no finalizer, no thread and no atexit function has another word


def _wall_in(
    cpu_s: int, memory_bytes: int, file_bytes: int, confine_files: int, forbid_network: int
) -> None:
    """Give up everything a program has no need of.

    Raises:
        OSError: a wall that is asked for cannot be built.
    """
    os.umask(0o077)
    linux = sys.platform == "linux"
    alone = _leave_root(bool(confine_files))
    if linux:
        walls.die_with_parent()  # after the user is changed, which would undo it
    if confine_files:
        devices = ["/dev/null", "/dev/zero", "/dev/urandom"]
        walls.confine_files(_readable(), devices, ".")
    if linux and (forbid_network or walls.knows_machine()):
        walls.forbid_calls(network=bool(forbid_network))
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_AS: memory_bytes,
    }
    if alone or not linux:  # it counts all that the user runs
        limits[resource.RLIMIT_NPROC] = _THREADS
    for kind, value in limits.items():
        most = resource.getrlimit(kind)[1]
        bounded = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(kind, (bounded, bounded))


def _leave_root(confine_files: bool) -> bool:
    """Become a user of no other process and no file, if this one is root's; says whether it did.

    Where the interpreter lives in root's own folders that user could not go on. Then root stays
    and loses its powers, and the wall around files is what keeps it from its own.

    Raises:
        OSError: that wall is not asked for.
    """
    if os.getuid() != 0:
        return False
    if not _open_to_all(os.__file__):
        if not confine_files:
            raise OSError(
                f"root cannot be left, since only root can read {os.__file__}; allow_files takes "
                "an interpreter that everybody can read, or another user"
            )
        if sys.platform == "linux":
            walls.drop_capabilities()
        return False
    user = _FIRST_USER + os.getpid() % _N_USERS
    os.chown(".", user, user)
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    return True


def _open_to_all(file: str) -> bool:
    """Say whether every user can read a file."""
    path, needed = os.path.realpath(file), 0o004  # to read; then to pass through folders
    while True:
        if not os.stat(path).st_mode & needed:
            return False
        path, last, needed = os.path.dirname(path), path, 0o001
        if path == last:
            return True


def _readable() -> list[str]:
    """Return where the interpreter and the libraries it loads live."""
    prefixes = {sys.prefix, sys.base_prefix, sys.base_exec_prefix}
    own = [f"{prefix}/{name}" for prefix in prefixes for name in ("lib", "lib64")]
    system = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache"]
    return [*own, *sys.path, *system]


def _described(what: str, error: BaseException) -> bytes:
    try:
        text = str(error)
    except Exception as failed:  # noqa: BLE001 -- the exception is the program's own
        text = f"(its text raised {type(failed).__name__})"
    return f"{what} raised {type(error).__name__}: {text}"[:_MOST].encode(errors="replace")


def _send(channel: int, content: bytes) -> None:
    message = len(content).to_bytes(4, "big") + content
    while message:
        message = message[_write(channel, message) :]


def _receive(channel: int) -> bytes:
    return _exactly(channel, int.from_bytes(_exactly(channel, 4), "big"))


def _exactly(channel: int, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = _read(channel, size - len(content))
        if not part:
            _exit(1)  # the parent is gone
        content += part
    return content
