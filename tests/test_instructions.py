"""Machine instructions of one small read, counted by valgrind's callgrind: the same figure on every run."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import crowd
from bench.load import Way
from tests.product import COMMAND, Program

TARGET = "/v1/accounts"
WARM, CALLS = 100, 300
MOST = 450_000  # instructions in user space, the simulated broker's and its TLS among them


@pytest.mark.soak
@pytest.mark.timeout(570)
def test_a_read_takes_no_more_instructions_than_it_did(
    tmp_path: Path, program: Callable[[str], str], figure: Callable[[object], None]
) -> None:
    """Over three hundred calls of one client on a kept connection, once everything is at hand."""
    count = tmp_path / "count"
    valgrind = (program("valgrind"), "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={count}")
    demo = Program(tmp_path, "demo", "--json", "--port", "0", command=(*valgrind, *COMMAND))
    try:
        at = demo.document()
        one = crowd.Kept(Way(f"{at['url']}/questrade", (f"Authorization: Bearer {at['client_key']}",)), TARGET)
        for _ in range(WARM):
            one.call()
        _control(program, demo.pid, "--instr=on")
        for _ in range(CALLS):
            one.call()
        _control(program, demo.pid, "--instr=off")
        one.close()
    finally:
        demo.stop()
    each = _total(count.read_text("utf-8")) / CALLS
    figure(f"one read: {each:,.0f} instructions")
    assert each < MOST


def _control(program: Callable[[str], str], pid: int, what: str) -> None:
    done = subprocess.run(
        [program("callgrind_control"), what, str(pid)], check=False, capture_output=True, text=True, timeout=60
    )
    assert "OK." in done.stdout, done.stdout + done.stderr


def _total(profile: str) -> int:
    found = re.search(r"^totals: (\d+)", profile, re.MULTILINE)
    assert found is not None
    return int(found[1])
