"""What the system lets others see of a process of ours, and how many files it may have open."""

import os
import sys

FILES = 32_768  # open at a time: twice the connections that `limits.connections` admits, and some
_PR_SET_DUMPABLE = 4


def harden() -> None:
    """No core dump, no debugger of another process, no file that others can read: tokens are in memory.

    And as many open files as the system grants: a call needs two, and most shells begin with 1,024.
    """
    import resource

    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if resource.RLIM_INFINITY != soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
