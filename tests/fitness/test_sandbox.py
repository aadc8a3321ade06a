"""Hostile programs: each tries one way out or one way to pass, and gets neither."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from evomerge.errors import FitnessError
from evomerge.fitness import sandbox
from evomerge.fitness.confined import walls
from evomerge.fitness.sandbox import Limits, check_sandbox, run_program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's")

LIMITS = Limits(timeout_s=10)
SHORT = Limits(timeout_s=1)


def test_a_right_program_passes_and_a_wrong_one_does_not():
    program = "def double(x):\n    return 2 * x\n"
    assert run_program(program, "assert double(4) == 8", LIMITS).passed
    wrong = run_program(program, "assert double(4) == 9, 'no'", LIMITS)
    assert (wrong.passed, wrong.reason) == (False, "tests raised AssertionError: no")
    broken = run_program("def double(x", "assert True", LIMITS)
    assert "program raised SyntaxError" in broken.reason
    check_sandbox(LIMITS)


def test_what_programs_may_use():
    program = """
import asyncio, collections, dataclasses, datetime, decimal, fractions, functools, hashlib
import heapq, itertools, json, math, random, re, statistics, string, threading, typing

@dataclasses.dataclass
class Point:
    x: int = 1

answers = []
thread = threading.Thread(target=lambda: answers.append(asyncio.run(asyncio.sleep(0, 7))))
thread.start()
thread.join()
with open("notes.txt", "w") as file:
    file.write("kept")
"""
    tests = """
assert answers == [7] and Point() == Point(1) and __name__ == "program"
assert open("notes.txt").read() == "kept"
"""
    verdict = run_program(program, tests, LIMITS)
    assert verdict.passed, verdict.reason


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "import time; time.sleep(60)",
        "import signal; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 3, 15)]\nwhile 1: pass",
        "import threading; threading.Event().wait()",
        "def f():\n    while True: pass",
    ],
)
def test_what_does_not_end_is_ended(program):
    tests = "f()" if "def f" in program else ""
    verdict = run_program(program, tests, SHORT)
    assert (verdict.passed, verdict.timed_out) == (False, True)
    assert verdict.reason == "timed out after 1 s"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; sys.exit(0)", "program raised SystemExit: 0"),
        ("raise KeyboardInterrupt", "program raised KeyboardInterrupt"),
        ("import os; os._exit(0)", "the process ended before its tests did"),
        ("import os, signal; os.kill(os.getpid(), 9)", "PermissionError"),
        ("import signal; signal.raise_signal(9)", "the process ended before its tests did"),
        ("import ctypes; ctypes.string_at(0)", "the process ended before its tests did"),
        ("import os; os.closerange(0, 64); os._exit(0)", "the process ended before its tests did"),
        ("def f():\n    raise SystemExit(0)", "tests raised SystemExit: 0"),
        ("def f():\n    import os; os._exit(0)", "the process ended before its tests did"),
    ],
)
def test_ending_early_is_no_pass(program, reason):
    verdict = run_program(program, "f()" if "def f" in program else "pass", LIMITS)
    assert not verdict.passed
    assert reason in verdict.reason


@pytest.mark.parametrize(
    "program",
    [
        # what the harness calls, replaced
        "import builtins; builtins.exec = builtins.compile = lambda *a, **k: None",
        "import os; os.read = lambda *a: b'tested'; os.write = lambda *a: len(a[1])",
        "import builtins; builtins.AssertionError = KeyError",
        "import builtins; builtins.BaseException = builtins.Exception = KeyError",
        "import sys; sys.modules['os'] = sys.modules['json'] = None",
        "import sys; sys.excepthook = lambda *a: None; sys.settrace(lambda *a: None)",
        # every message that can be known beforehand, in every file that is open
        """
import os
messages = (b"ran", b"tested", b"ready", b"passed", bytes(16))
for file in range(3, 32):
    for message in messages:
        try:
            os.write(file, len(message).to_bytes(4, "big") + message)
        except OSError:
            pass
""",
        "import os\nfor n in range(3, 32):\n  try: os.write(n, bytes(1000))\n  except OSError: 0",
    ],
)
def test_meddling_with_the_harness_is_no_pass(program):
    verdict = run_program(program, "assert 1 == 2", LIMITS)
    assert not verdict.passed, verdict


def test_what_hangs_at_the_end_is_not_waited_for():
    program = """
import atexit, threading

class Sticky:
    def __del__(self):
        while True: pass

sticky = Sticky()
atexit.register(lambda: threading.Event().wait())
threading.Thread(target=threading.Event().wait).start()
"""
    assert run_program(program, "assert sticky", LIMITS).passed


def test_memory_files_and_output_are_bounded():
    hog = run_program("x = bytearray(10**9)", "", Limits(memory_mb=256))
    assert "MemoryError" in hog.reason
    assert run_program("x = bytearray(10**8)", "", Limits(memory_mb=256)).passed
    many = run_program("x = []\nwhile True: x.append(' ' * 10**6)", "", Limits(memory_mb=256))
    assert not many.passed
    assert not many.timed_out
    big = run_program("open('x', 'wb').write(bytes(3 << 20))", "", Limits(file_mb=2))
    assert "File too large" in big.reason
    assert run_program("print('x' * 10**7)", "", LIMITS).passed
    loud = run_program("raise ValueError('y' * 10**7)", "", LIMITS)
    assert loud.reason.startswith("program raised ValueError: yyy")
    assert len(loud.reason) < 400
    # longer than the socket between the two holds
    assert run_program(f"x = {'a' * 3_000_000!r}", "assert len(x) == 3_000_000", LIMITS).passed


CONNECT = "import socket; socket.create_connection(('127.0.0.1', {port}), 5).close()"
FOREIGN = "import ctypes; assert ctypes.CDLL(None).socket({family}, 1, 0) >= 0"


def test_there_is_no_network_unless_the_study_says_so():
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = CONNECT.format(port=server.getsockname()[1])
        assert "PermissionError" in run_program(program, "", LIMITS).reason
        for family in (socket.AF_INET, socket.AF_UNIX):
            assert not run_program(FOREIGN.format(family=int(family)), "", LIMITS).passed
        allowed = run_program(program, "", Limits(allow_network=True))
        assert allowed.passed, allowed.reason


@pytest.mark.parametrize("allow_network", [False, True])
@pytest.mark.parametrize(
    "program",
    [
        "import os\nwhile True: os.fork()",
        "import subprocess, sys; subprocess.run([sys.executable, '-c', ''])",
        "import os; os.posix_spawn('/bin/true', ['true'], {})",
        "import os; os.execv('/bin/true', ['true'])",
        "import multiprocessing as m; p = m.get_context('fork').Process(target=print); p.start()",
        "import ctypes; assert ctypes.CDLL(None).vfork() >= 0",
        "import os; os.setsid()",
    ],
)
def test_there_are_no_other_processes(program, allow_network):
    verdict = run_program(program, "", Limits(allow_network=allow_network))
    assert not verdict.passed
    assert not verdict.timed_out


def test_files_elsewhere_can_be_neither_read_nor_changed(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("hold-out answers")
    tmp_path.chmod(0o777)
    secret.chmod(0o666)
    for program in (
        f"open({str(secret)!r}).read()",
        f"open({str(secret)!r}, 'w')",
        f"open({str(secret)!r}, 'a')",
        f"import os; os.open({str(secret)!r}, os.O_RDONLY | os.O_TRUNC)",
        f"import os; os.truncate({str(secret)!r}, 0)",
        f"import os; os.unlink({str(secret)!r})",
        f"import os; os.chmod({str(secret)!r}, 0)",
        f"import os; os.utime({str(secret)!r}, (0, 0))",
        f"import os; os.rename({str(secret)!r}, 'mine')",
        f"import os; os.link({str(secret)!r}, 'mine')",
        f"import os; os.symlink({str(secret)!r}, 'mine'); open('mine')",
        f"open({str(tmp_path / 'new')!r}, 'w')",
        f"import os; os.listdir({str(tmp_path)!r})",
        "import os; os.mkdir('folder')",
    ):
        assert "Error" in run_program(program, "", LIMITS).reason, program
    assert secret.read_text() == "hold-out answers"
    assert secret.stat().st_mode & 0o777 == 0o666
    assert [path.name for path in tmp_path.iterdir()] == ["secret.txt"]


def test_allowing_files_allows_them_but_not_to_root(tmp_path):
    target = tmp_path / "found.txt"
    target.write_text("x")
    limits = Limits(allow_files=True)
    own = os.getuid() != 0
    anyone = all(one.stat().st_mode & 0o001 for one in Path(os.__file__).resolve().parents)
    if own:
        assert run_program(f"assert open({str(target)!r}).read() == 'x'", "", limits).passed
    elif not anyone:
        with pytest.raises(FitnessError, match="root cannot be left"):
            run_program("", "", limits)
    else:
        target.chmod(0o600)
        assert "Permission" in run_program(f"open({str(target)!r})", "", limits).reason


def test_the_environment_holds_no_secret(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    program = """
import os
seen = dict(os.environ)
def parents():
    return open(f"/proc/{os.getppid()}/environ").read()
"""
    tests = "assert set(seen) <= {'PYTHONHASHSEED', 'PYTHONUTF8', 'LC_CTYPE'}, seen"
    assert run_program(program, tests, LIMITS).passed
    assert "PermissionError" in run_program(program, "parents()", LIMITS).reason
    assert "PermissionError" in run_program("open('/proc/self/environ')", "", LIMITS).reason


def test_an_object_that_is_equal_to_anything_passes_as_the_documents_say():
    program = "class Any:\n    def __eq__(self, other):\n        return True\nanswer = Any()"
    assert run_program(program, "assert answer == 42", LIMITS).passed
    assert not run_program(program, "assert type(answer) is int", LIMITS).passed
    assert "`__eq__` says True to anything" in sandbox.__doc__


def test_the_parent_gets_no_signal_and_keeps_its_limits():
    received = []
    calls = walls._NUMBERS[os.uname().machine]
    previous = signal.signal(signal.SIGURG, lambda *_: received.append(1))
    try:
        for attack in (
            "os.kill(os.getppid(), signal.SIGURG)",
            "os.killpg(os.getpgid(os.getppid()), signal.SIGURG)",
            f"assert not libc.syscall({calls['tgkill']}, os.getppid(), os.getppid(), 23)",
            f"assert not libc.syscall({calls['tkill']}, os.getppid(), 23)",
            "os.pidfd_open(os.getppid())",
            "fcntl.fcntl(int(sys.argv[2]), 8, os.getppid())",  # F_SETOWN
            "fcntl.ioctl(int(sys.argv[2]), 0x8901, struct.pack('i', os.getppid()))",  # FIOSETOWN
            "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
            "os.sched_setaffinity(os.getppid(), {0})",
            "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
        ):
            program = (
                "import ctypes, fcntl, os, resource, signal, struct, sys\n"
                f"libc = ctypes.CDLL(None)\n{attack}"
            )
            assert "Error" in run_program(program, "", LIMITS).reason, attack
    finally:
        signal.signal(signal.SIGURG, previous)
    assert not received


def test_runs_are_alike():
    tests = "assert False, (list({'a', 'b', 'c', 'd', 'e'}), random.random(), hash('x'))"
    one, other = (run_program("import random", tests, LIMITS).reason for _ in range(2))
    assert one == other
    assert "AssertionError: ([" in one


def test_working_directories_are_empty_and_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tmp_path.chmod(0o755)
    program = "import os; found = os.listdir('.'); [open(str(n), 'w') for n in range(5)]"
    assert run_program(program, "assert found == []", LIMITS).passed
    run_program("open('x', 'w')\nwhile True: pass", "", SHORT)
    assert list(tmp_path.iterdir()) == []


def test_a_group_of_processes_is_ended_as_a_whole():
    """Where no filter keeps a program from forking (macOS), its time-out ends its children too."""
    ours, theirs = os.pipe()
    code = "import os, time; os.fork(); time.sleep(600)"
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", code], pass_fds=(theirs,), start_new_session=True
    )
    os.close(theirs)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not children.read_text():
        time.sleep(0.01)
    sandbox._end(process)
    assert os.read(ours, 1) == b""  # nobody holds the other end any more
    os.close(ours)


def test_a_sandbox_ends_with_the_worker_that_started_it(tmp_path):
    code = (
        "from evomerge.fitness.sandbox import *\n"
        "run_program('while True: pass', '', Limits(timeout_s=600))"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}  # it has no time to tidy up
    worker = subprocess.Popen([sys.executable, "-c", code], env=environment)
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
    while not (found := children.read_text().split()):
        time.sleep(0.02)
    time.sleep(0.5)  # it takes hold of its fate once it runs
    worker.kill()
    worker.wait()
    status = Path(f"/proc/{found[0]}/stat")
    deadline = time.monotonic() + 30
    while status.exists() and status.read_text().rsplit(")")[1].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("missing", ["confine_files", "forbid_calls"])
def test_a_wall_that_cannot_be_built_is_an_error_and_not_a_weaker_wall(missing, monkeypatch):
    boot = sandbox._BOOT.replace(
        "sys.path.pop(0)",
        "from confined import walls\n"
        "def fail(*_, **__): raise OSError(38, 'Function not implemented')\n"
        f"walls.{missing} = fail\n"
        "sys.path.pop(0)",
    )
    monkeypatch.setattr(sandbox, "_BOOT", boot)
    with pytest.raises(FitnessError, match=r"Function not implemented.*'allow_network: true'"):
        run_program("", "", LIMITS)


def test_other_systems_say_what_cannot_be_had(monkeypatch):
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    with pytest.raises(FitnessError, match=r"darwin offers no way.*allow_files: true"):
        run_program("", "", LIMITS)
    monkeypatch.setattr(sandbox.sys, "executable", "/bin/true")
    monkeypatch.setattr(sandbox.sys, "platform", "linux")
    with pytest.raises(FitnessError, match="interpreter ended at once"):
        check_sandbox(LIMITS)


@pytest.mark.parametrize(
    ("machine", "header"),
    [
        ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        ("aarch64", "/usr/include/asm-generic/unistd.h"),
    ],
)
def test_system_calls_have_the_numbers_of_the_kernels_headers(machine, header):
    if not Path(header).is_file():
        pytest.skip("the kernel's headers are not installed")
    text = Path(header).read_text()
    known = {
        name: int(number)
        for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)
    }
    table = walls._NUMBERS[machine] | walls._EVERYWHERE
    named = {name: number for name, number in table.items() if name in known}
    assert named == {name: known[name] for name in named}
    assert len(named) > 0.9 * len(table)  # the newest calls are in no older header
