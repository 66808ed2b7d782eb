"""`python tests/sandbox.py UNIT COMMAND…`: the command, under what of a systemd unit holds without systemd.

That is: its system call filter, its address families, no memory that is written and executed, no capability, no new
privileges, its limits. What needs systemd itself (a user of its own, file systems, namespaces) is not tried here.
"""

import ctypes
import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_WRITE, _EXECUTE = 2, 4  # PROT_WRITE, PROT_EXEC
_MASKED = 7  # SCMP_CMP_MASKED_EQ
_NEW_PRIVILEGES, _DROP = 38, 24  # PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
_LAST_CAPABILITY = 63


class Compared(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("one", ctypes.c_uint64),
        ("other", ctypes.c_uint64),
    )


def settings(unit: str) -> dict[str, list[str]]:
    """The lines of `[Service]`, by key."""
    found: dict[str, list[str]] = {}
    for line in unit.partition("[Service]")[2].partition("[Install]")[0].splitlines():
        key, there, value = line.partition("=")
        if there and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def calls_of(group: str) -> Iterator[str]:
    """The system calls of systemd's group `@name`."""
    done = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        word = line.strip()
        if word.startswith("@") and word != group:
            yield from calls_of(word)
        elif word and line.startswith(" ") and not word.startswith("#"):
            yield word


def allowed(filters: Sequence[str]) -> set[str]:
    """What is left of lines of `SystemCallFilter`."""
    found: set[str] = set()
    for line in filters:
        for group in line.removeprefix("~").split():
            calls = set(calls_of(group)) if group.startswith("@") else {group}
            found = found - calls if line.startswith("~") else found | calls
    return found


def conditions(families: Sequence[str]) -> Mapping[str, list[Compared]]:
    """Calls that are allowed in these cases only."""
    both = _WRITE | _EXECUTE
    protection = [Compared(2, _MASKED, both, each) for each in (0, _WRITE, _EXECUTE)]
    return {
        "mmap": protection,
        "mprotect": [Compared(2, _MASKED, _EXECUTE, 0)],
        "pkey_mprotect": [Compared(2, _MASKED, _EXECUTE, 0)],
        "socket": [Compared(0, _MASKED, 0xFFFFFFFF, _FAMILIES[each]) for each in families],
    }


def confine(unit: dict[str, list[str]]) -> None:
    """This process, and all that it starts."""
    seccomp, libc = ctypes.CDLL("libseccomp.so.2"), ctypes.CDLL(None, use_errno=True)
    names = allowed(unit["SystemCallFilter"])
    seccomp.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(REFUSE)))
    special = conditions(unit["RestrictAddressFamilies"][0].split())
    for name in names:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            continue  # not of this machine
        for case in special.get(name, [None]):
            array = (Compared * 1)(case) if case is not None else None
            done = seccomp.seccomp_rule_add_array(rules, ctypes.c_uint32(ALLOW), number, int(case is not None), array)
            assert done == 0, (name, done)
    files = min(int(unit["LimitNOFILE"][0]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for capability in range(_LAST_CAPABILITY):
        libc.prctl(_DROP, capability, 0, 0, 0)  # who is not root has none
    assert libc.prctl(_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    assert seccomp.seccomp_load(rules) == 0


if __name__ == "__main__":
    confine(settings(Path(sys.argv[1]).read_text()))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606
