"""Walls around this very process, which it cannot take down again: Linux only, no privilege needed.

Landlock (https://docs.kernel.org/userspace-api/landlock.html) decides which files may be opened, a
seccomp filter (https://docs.kernel.org/userspace-api/seccomp_filter.html) which system calls fail.
The filter forbids rather than allows by list, since what an interpreter calls differs by version;
Landlock, the resource limits and an unprivileged user do not depend on that list.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
SECCOMP_MODE_FILTER = 2

# By machine: what seccomp calls it, and system call numbers where they differ. Those of one number
# everywhere are below.
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NUMBERS = {
    "x86_64": {
        "socket": 41, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "execveat": 322,
        "kill": 62, "tkill": 200, "tgkill": 234, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297,
        "setpgid": 109, "setsid": 112, "setpriority": 141, "sched_setparam": 142,
        "sched_setscheduler": 144,
        "sched_setaffinity": 203, "sched_setattr": 314, "ioprio_set": 251, "prlimit64": 302,
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
        "open": 2, "openat": 257, "truncate": 76,
        "chmod": 90, "fchmod": 91, "fchmodat": 268, "chown": 92, "fchown": 93, "lchown": 94,
        "fchownat": 260,
        "utime": 132, "utimes": 235, "futimesat": 261, "utimensat": 280,
        "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190,
        "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199,
        "shmget": 29, "semget": 64, "msgget": 68, "mq_open": 240, "memfd_create": 319,
        "add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321, "perf_event_open": 298,
        "userfaultfd": 323,
        "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272,
        "setns": 308,
        "fcntl": 72, "ioctl": 16,
    },
    "aarch64": {
        "socket": 198, "clone": 220, "execve": 221, "execveat": 281,
        "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138,
        "rt_tgsigqueueinfo": 240,
        "setpgid": 154, "setsid": 157, "setpriority": 140, "sched_setparam": 118,
        "sched_setscheduler": 119,
        "sched_setaffinity": 122, "sched_setattr": 274, "ioprio_set": 30, "prlimit64": 261,
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
        "openat": 56, "truncate": 45,
        "fchmod": 52, "fchmodat": 53, "fchown": 55, "fchownat": 54, "utimensat": 88,
        "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15,
        "fremovexattr": 16,
        "shmget": 194, "semget": 190, "msgget": 186, "mq_open": 180, "memfd_create": 279,
        "add_key": 217, "request_key": 218, "keyctl": 219, "bpf": 280, "perf_event_open": 241,
        "userfaultfd": 282,
        "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "unshare": 97, "setns": 268,
        "fcntl": 25, "ioctl": 29,
    },
}  # fmt: skip
_EVERYWHERE = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "pidfd_open": 434, "pidfd_getfd": 438,
    "process_madvise": 440, "mount_setattr": 442, "memfd_secret": 447, "process_mrelease": 448,
    "fchmodat2": 452, "setxattrat": 463, "removexattrat": 466, "file_setattr": 469,
}  # fmt: skip
_CLONE3, _OPENAT2 = 435, 437  # their arguments lie in memory, where no filter can look

# Allowed or forbidden by an argument, below.
_BY_ARGUMENT = {"clone", "tgkill", "prlimit64", "open", "openat", "fcntl", "ioctl"}

_LOAD, _AND, _JUMP_EQUAL, _JUMP_FROM, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 5
_MAKE_FILE, _TRUNCATE = 1 << 8, 1 << 14
_HANDLED = {1: 13, 2: 14, 3: 15, 5: 16}  # Landlock's version to how many rights it knows
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH = 1


def knows_machine() -> bool:
    """Say whether `forbid_calls` has the system call numbers of this machine."""
    return os.uname().machine in ARCHITECTURES


def forbid_calls(*, network: bool) -> None:
    """Make forbidden system calls fail from now on, here and in every thread.

    Processes cannot be started and signals not be sent to others, files keep their owners and
    modes, and with `network` no socket can be opened.

    Raises:
        OSError: the kernel or the machine does not know how.
    """
    machine = os.uname().machine
    if not knows_machine():
        raise OSError(errno.ENOSYS, f"no list of system calls for {machine}")
    code = _filter(machine, os.getpid(), network=network)
    buffer = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.create_string_buffer(program))


def confine_files(readable: list[str], devices: list[str], folder: str) -> None:
    """Let only these files be opened from now on: some for reading, those of a folder for all.

    In the folder plain files can be made and removed, and no folders.

    Args:
        readable: files and folders; those that do not exist are left out.
        devices: files that may also be written to.
        folder: where the process works.

    Raises:
        OSError: the kernel has no Landlock, or it is off.
    """
    version = _call(_CREATE_RULESET, None, 0, 1)
    count = max(rights for since, rights in _HANDLED.items() if since <= version)
    handled = (1 << count) - 1
    rules = _call(_CREATE_RULESET, struct.pack("Q", handled), 8, 0)
    read = _READ_FILE | _READ_DIR
    work = read | _WRITE_FILE | _MAKE_FILE | _REMOVE_FILE | _TRUNCATE
    for path in readable:
        _allow(rules, path, read & handled)
    for path in devices:
        _allow(rules, path, (_READ_FILE | _WRITE_FILE) & handled)
    _allow(rules, folder, work & handled)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _call(_RESTRICT_SELF, rules, 0)
    os.close(rules)


def die_with_parent() -> None:
    """End this process when the thread that started it ends."""
    _prctl(PR_SET_PDEATHSIG, 9)


def drop_capabilities() -> None:
    """Give up what root may do beyond other users; its files stay its own.

    Raises:
        OSError: the kernel refuses.
    """
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    if _libc.capset(header, bytes(24)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _filter(machine: str, pid: int, *, network: bool) -> bytes:
    """Return a classic BPF program over struct seccomp_data."""
    numbers = _NUMBERS[machine] | _EVERYWHERE
    anything = 0xFFFFFFFF
    thread, access, cut = 0x10000, 0o3, 0o1000  # CLONE_THREAD, O_ACCMODE (0 reads), O_TRUNC
    code = [
        _instruction(_LOAD, 4),
        _instruction(_JUMP_EQUAL, ARCHITECTURES[machine], 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, 0),
        _if(_JUMP_FROM, 0x40000000),  # x86_64 has other numbers too, from here on
    ]
    for name, number in numbers.items():
        if name not in _BY_ARGUMENT and (network or name != "socket"):
            code.append(_if(_JUMP_EQUAL, number))
    for number in (_CLONE3, _OPENAT2):  # the C library falls back to the calls above
        code.append(_if(_JUMP_EQUAL, number, errno.ENOSYS))
    code += [
        _by_argument(numbers["clone"], 0, thread, thread, forbid=False),
        _by_argument(numbers["tgkill"], 0, anything, pid, forbid=False),
        _by_argument(numbers["prlimit64"], 0, anything, 0, forbid=False),
        # Landlock learnt of truncation in its third version.
        _by_argument(numbers["openat"], 2, access | cut, cut, forbid=True),
    ]
    if "open" in numbers:
        code.append(_by_argument(numbers["open"], 1, access | cut, cut, forbid=True))
    for command in (8, 10, 15):  # F_SETOWN, F_SETSIG, F_SETOWN_EX: signals by detour
        code.append(_by_argument(numbers["fcntl"], 1, anything, command, forbid=True))
    for command in (0x8901, 0x8902):  # FIOSETOWN, SIOCSPGRP: the same
        code.append(_by_argument(numbers["ioctl"], 1, anything, command, forbid=True))
    return b"".join([*code, _instruction(_RETURN, _ALLOW)])


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return one struct sock_filter; jumps skip so many instructions."""
    return struct.pack("HBBI", code, if_true, if_false, value)


def _if(jump: int, value: int, error: int = errno.EPERM) -> bytes:
    """Fail calls whose number compares with a value."""
    return _instruction(jump, value, 0, 1) + _instruction(_RETURN, _ERRNO | error)


def _by_argument(number: int, argument: int, mask: int, value: int, *, forbid: bool) -> bytes:
    """Fail a call whose masked argument (its lower half) has a value, or has any other."""
    return b"".join(
        [
            _instruction(_JUMP_EQUAL, number, 0, 5),
            _instruction(_LOAD, 16 + 8 * argument),
            _instruction(_AND, mask),
            _instruction(_JUMP_EQUAL, value, int(not forbid), int(forbid)),
            _instruction(_RETURN, _ERRNO | errno.EPERM),
            _instruction(_LOAD, 0),
        ]
    )


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not os.path.isdir(path):
        rights &= ~(_READ_DIR | _MAKE_FILE | _REMOVE_FILE)
    try:
        _call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", rights, file), 0)
    finally:
        os.close(file)


def _call(number: int, *arguments: int | bytes | None) -> int:
    found = int(_libc.syscall(number, *map(_word, arguments)))
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return found


def _word(argument: object) -> object:
    """Return an argument of a variadic function at its full width."""
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def _prctl(option: int, *arguments: object) -> None:
    padded = (*arguments, *(0,) * (4 - len(arguments)))
    if _libc.prctl(option, *map(_word, padded)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
