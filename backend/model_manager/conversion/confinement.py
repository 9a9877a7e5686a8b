"""What a process may no longer do before it opens a stranger's file. Every step holds until the process ends.

Linux gives three locks that any user may turn, each of which some containers and kernels lack: a network namespace of
one's own (unshare(2)), rules about files (landlock(7)) and a filter of system calls (seccomp(2)). On every system
Python's own audit hook refuses what Python code would ask for. Who calls this is told which of them hold.
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
OPEN_FILES = 64
NETWORK, FILES, CALLS, PYTHON = "network namespace", "landlock", "seccomp", "audit hook"

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_SIGKILL = 9
# The same numbers on every architecture, as for all calls since Linux 5.0.
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION, _LANDLOCK_RULE_PATH_BENEATH = 1, 1
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
# All rights of the first version except to read a file (2) and to list a folder (3).
_CHANGES = (1 << 13) - 1 & ~(1 << 2 | 1 << 3)
_SINCE_VERSION_2, _SINCE_VERSION_3 = 1 << 13, _TRUNCATE

_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1  # SECCOMP_RET_ERRNO with EPERM
_SECCOMP_SET_MODE_FILTER, _ON_ALL_THREADS = 1, 1
_LOAD_WORD, _JUMP_IF_EQUAL, _JUMP_IF_NOT_LESS, _RETURN = 0x20, 0x15, 0x35, 0x06
_X32 = 0x40000000  # calls of this second table of x86-64 have this bit


@dataclass(frozen=True, kw_only=True)
class Machine:
    """An architecture's name for seccomp, its number of seccomp(2) itself, and the calls that are refused."""

    audit: int
    seccomp: int
    refused: tuple[int, ...]


# socket, connect, accept, sendto, bind, listen, accept4; execve, execveat; fork, vfork (x86-64 only); kill, ptrace,
# process_vm_readv and _writev; mount, unshare, setns; bpf, userfaultfd, keyctl; io_uring_setup, pidfd_send_signal.
_MACHINES = {
    "x86_64": Machine(
        audit=0xC000003E,
        seccomp=317,
        refused=(
            *(41, 42, 43, 44, 49, 50, 288, 59, 322, 57, 58, 62, 101, 310, 311),
            *(165, 272, 308, 321, 323, 250, 425, 424),
        ),
    ),
    "aarch64": Machine(
        audit=0xC00000B7,
        seccomp=277,
        refused=(198, 203, 202, 206, 200, 201, 242, 221, 281, 129, 117, 270, 271, 40, 97, 268, 280, 282, 219, 425, 424),
    ),
}

_REFUSED_EVENTS = (
    *("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile"),
    *("pty.spawn", "pickle.find_class", "ctypes.dlopen", "os.kill", "os.remove", "os.rename", "os.rmdir", "os.link"),
    *("os.symlink", "os.truncate", "os.mkdir", "os.chmod", "os.chown", "shutil.", "webbrowser.", "winreg."),
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True, kw_only=True)
class Limits:
    """`memory` in bytes of address space, beyond what is in use when they begin; `seconds` of computing from then on;
    `output`, the most bytes that a file may have."""

    memory: int
    seconds: int
    output: int


def confine_by_kernel(writable: Path) -> tuple[str, ...]:
    """Give up the network, other programs and every file but `writable` (which must be there, and read-only ones).

    To be called while the process has one thread. Returns the names of the locks that hold; empty except on Linux.
    """
    if not sys.platform.startswith("linux"):
        return ()
    library = ctypes.CDLL(None, use_errno=True)
    held: list[str] = []
    # Root needs no user namespace for this, and inside of one would lose its right to read others' files.
    spaces = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWUSER | _CLONE_NEWNET
    if library.unshare(spaces) == 0:
        held.append(NETWORK)
    # After unshare, which resets it: the parent's end is this process's end.
    library.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        if _forbid_writing(library, writable):
            held.append(FILES)
        if _filter_calls(library):
            held.append(CALLS)
    return tuple(held)


def _forbid_writing(library: ctypes.CDLL, writable: Path) -> bool:
    version = library.syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)
    if version < 1:
        return False
    handled = _CHANGES | (_SINCE_VERSION_2 if version >= 2 else 0) | (_SINCE_VERSION_3 if version >= 3 else 0)
    attributes = struct.pack("=Q", handled)
    rules = library.syscall(_LANDLOCK_CREATE, attributes, len(attributes), 0)
    if rules < 0:
        return False
    place = os.open(writable, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", handled & (_WRITE_FILE | _TRUNCATE), place)
        added = library.syscall(_LANDLOCK_ADD, rules, _LANDLOCK_RULE_PATH_BENEATH, rule, 0)
        return added == 0 and library.syscall(_LANDLOCK_RESTRICT, rules, 0) == 0
    finally:
        os.close(place)
        os.close(rules)


def _filter_calls(library: ctypes.CDLL) -> bool:
    """A filter in the kernel's packet language: another architecture's call or one of the list is refused."""
    machine = _MACHINES.get(platform.machine())
    if machine is None or sys.maxsize < 2**32:
        return False
    count = len(machine.refused)
    # Jumps count the instructions to leap over; the last two are "allow" and "refuse".
    program = [
        (_LOAD_WORD, 0, 0, 4),
        (_JUMP_IF_EQUAL, 0, count + 3, machine.audit),
        (_LOAD_WORD, 0, 0, 0),
        (_JUMP_IF_NOT_LESS, count + 1, 0, _X32),
        *((_JUMP_IF_EQUAL, count - k, 0, call) for k, call in enumerate(machine.refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    header = struct.pack("@HP", len(program), ctypes.addressof(code))
    return library.syscall(machine.seccomp, _SECCOMP_SET_MODE_FILTER, _ON_ALL_THREADS, header) == 0


def confine_by_audit(writable: Path) -> Sequence[str]:
    """Refuse network, programs, pickled names and changes to files other than `writable` to all Python code from now.

    Returns the list to which the name of each refused event is added: it is empty as long as nobody has tried.
    """
    refused: list[str] = []
    own = str(writable)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith(_REFUSED_EVENTS) or (event == "open" and _writes_elsewhere(arguments, own)):
            refused.append(event)
            raise PermissionError(f"{event} is not allowed here")

    sys.addaudithook(hook)
    return refused


def _writes_elsewhere(arguments: tuple[object, ...], own: str) -> bool:
    match arguments:
        case (str() | bytes() as path, mode, flags, *_):
            written = any(c in "wax+" for c in mode) if isinstance(mode, str) else bool(_number(flags) & _WRITING)
            return written and os.fsdecode(path) != own
    return False


def _number(flags: object) -> int:
    return flags if isinstance(flags, int) else 0


def apply_limits(limits: Limits) -> tuple[str, ...]:
    """Set the limits, counted from what the process uses now. Returns the names of those that the system knows."""
    if sys.platform == "win32":
        return ()
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    end = int(used.ru_utime + used.ru_stime) + 1 + limits.seconds
    wanted: list[tuple[str, int, tuple[int, int]]] = [
        # The first brings SIGXCPU, which tells why; at the second the kernel kills.
        ("computing time", resource.RLIMIT_CPU, (end, end + 5)),
        ("file size", resource.RLIMIT_FSIZE, (limits.output, limits.output)),
        ("open files", resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES)),
        ("core dumps", resource.RLIMIT_CORE, (0, 0)),
    ]
    space = _address_space()
    if space:
        wanted.append(("memory", resource.RLIMIT_AS, (space + limits.memory, space + limits.memory)))
    return tuple(name for name, kind, values in wanted if _limit(resource.setrlimit, kind, values))


def _limit(setrlimit: Callable[[int, tuple[int, int]], None], kind: int, values: tuple[int, int]) -> bool:
    try:
        setrlimit(kind, values)
    except (OSError, ValueError):
        return False  # a lower one is in force already, or the system does not have it
    return True


def _address_space() -> int:
    """Bytes of address space in use; 0 where the system does not tell."""
    try:
        text = Path("/proc/self/statm").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(text.split()[0]) * os.sysconf("SC_PAGE_SIZE")
