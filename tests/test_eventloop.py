"""Which event loop runs, with the real ones."""

import asyncio
import subprocess
import sys

import pytest
import uvloop

from proxy.eventloop import Choice, NoSuchLoop, factory, run

# As on a system for which there is no uvloop.
WITHOUT = """
import sys
sys.modules["uvloop"] = None
from proxy import eventloop
print(type(eventloop.factory("auto")()).__module__)
try:
    eventloop.factory("uvloop")
except eventloop.NoSuchLoop as missing:
    print(missing)
"""


@pytest.mark.parametrize(("choice", "is_uvloop"), [("auto", True), ("uvloop", True), ("asyncio", False)])
def test_the_loop_is_the_one_that_was_chosen(choice: Choice, is_uvloop: bool) -> None:
    """uvloop unless somebody wants Python's own."""

    async def look() -> bool:
        return isinstance(asyncio.get_running_loop(), uvloop.Loop)

    assert is_uvloop is run(look(), factory(choice))


def test_without_uvloop_python_s_own_serves() -> None:
    """Unless it was asked for by name: then that is said."""
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True, timeout=30)

    assert ["asyncio.unix_events", "uvloop is not installed here"] == done.stdout.splitlines()


def test_what_fails_is_raised() -> None:
    """As `asyncio.run` does."""

    async def fail() -> None:
        raise NoSuchLoop("x")

    with pytest.raises(NoSuchLoop, match="x"):
        run(fail(), factory())
