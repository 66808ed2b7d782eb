"""What others see of a process of ours; what `serve` makes of it is in `tests/cli/test_serve.py`."""

import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="where it is read is Linux's")
def test_a_hardened_process_shows_nothing_and_may_open_many_files() -> None:
    """No core dump, nothing of /proc for others, private files, and as many open ones as the system grants."""
    code = (
        "import os, resource\nfrom proxy.hardening import FILES, harden\nharden()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), os.stat('/proc/self/environ').st_uid, os.umask(0),"
        " resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split(") ")[0] + ")" == "(0, 0)"
    assert done.stdout.split()[2:] == ["0", str(0o077), "True"]
