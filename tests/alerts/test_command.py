"""One run of one command: what it gets, and how whatever it does ends."""

import asyncio
import os
from pathlib import Path

import pytest

from proxy.alerts.command import LARGEST, PASSED, environment, run
from proxy.alerts.notice import Answer, begun
from proxy.hooks import Program
from tests.alerts.receivers import trouble
from tests.workers.house import alive

DOCUMENT = begun(trouble(), "msg_1", 1_800_000_000.0).document("desk")


async def done(script: str, directory: Path, timeout: float = 5.0, body: bytes = b'{"event":"x"}') -> Answer:  # noqa: ASYNC109
    way = Program(Path("/bin/sh"), ("-c", script, "name", "a b; $(c)"), directory)
    return await run(way, body, environment(DOCUMENT, {"PATH": os.environ["PATH"], "SECRET": "x"}), timeout)


async def test_it_gets_the_event_and_hardly_any_environment(state_dir: Path) -> None:
    """JSON on stdin, six variables of ours, arguments as they are, its directory, and no descriptor of the server's."""
    with (state_dir / "open").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        found = await done('cat; echo; env | sort; echo "$1"; pwd; ls /proc/self/fd | wc -l', state_dir)
    lines = found.output.splitlines()
    assert (True, "exit 0") == (found.ok, found.said)
    assert '{"event":"x"}' == lines[0]
    names = {line.partition("=")[0] for line in lines[1:] if line.startswith(("BEARERD", "SECRET", "PATH", "HOME"))}
    assert {
        "BEARERD_EVENT", "BEARERD_EVENT_ID", "BEARERD_EVENT_KEY", "BEARERD_EVENT_KIND", "BEARERD_EVENT_SEVERITY",
        "BEARERD_EVENT_TEXT", "PATH",
    } == names  # fmt: skip
    assert f"BEARERD_EVENT_TEXT={DOCUMENT['text']}" in lines
    assert ["a b; $(c)", str(state_dir)] == lines[-3:-1]
    assert int(lines[-1]) <= 4  # 0, 1, 2, and that of `ls` itself


def test_the_environment_is_a_closed_list() -> None:
    """Whatever is set for the server, a command gets a PATH, a few names, and what is told."""
    found = environment(
        DOCUMENT | {"text": "a\0b"}, dict.fromkeys(("BEARERD_STORE_PASSWORD", "AWS_SECRET", *PASSED), "x")
    )
    assert {*PASSED} == {name for name in found if not name.startswith("BEARERD_EVENT")}
    assert "ab" == found["BEARERD_EVENT_TEXT"]
    assert "/usr/bin" in environment(DOCUMENT, {})["PATH"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "exit 3"),
        ("kill -9 $$", "ended by SIGKILL"),
        ("kill -60 $$", "ended by signal 60"),
        ("exit 0", "exit 0"),
    ],
    ids=["three", "killed", "odd signal", "well"],
)
async def test_how_it_ended_is_told(script: str, said: str, state_dir: Path) -> None:
    """Only 0 is a success. One that never reads its stdin is not held against it, however long that is."""
    found = await done(script, state_dir, body=b"x" * 300_000)
    assert (said == "exit 0", said) == (found.ok, found.said)


async def test_it_is_killed_with_all_that_it_started(state_dir: Path) -> None:
    """When its time is over, with its children; and children of one that has ended, which hold its output open."""
    slow = await done("echo begun; sleep 60 & echo $! > child; trap '' TERM; sleep 61", state_dir, 0.3)
    assert (False, "killed: it did not end within 0.3 s", "begun\n") == (slow.ok, slow.said, slow.output)
    assert slow.seconds < 2
    first = int((state_dir / "child").read_text())
    quick = await done("sleep 62 & echo $! > child", state_dir, 5.0)
    assert (True, True) == (quick.ok, quick.seconds < 2)
    second = int((state_dir / "child").read_text())
    await gone(first, second)


async def gone(*pids: int) -> None:
    async with asyncio.timeout(5):
        while any(map(alive, pids)):  # noqa: ASYNC110  nobody tells of it
            await asyncio.sleep(0.02)


async def test_it_is_killed_when_the_server_stops(state_dir: Path) -> None:
    """Whoever runs it is cancelled: nothing is left behind."""
    task = asyncio.get_running_loop().create_task(done("echo $$ > pid; sleep 60", state_dir, 50.0))
    async with asyncio.timeout(5):
        while not (state_dir / "pid").exists() or not (state_dir / "pid").read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait([task])
    await gone(int((state_dir / "pid").read_text()))


async def test_its_output_is_bounded(state_dir: Path) -> None:
    """Ten megabytes are read, so that it can end, and 4 KiB are kept."""
    found = await done("head -c 10000000 /dev/zero", state_dir)
    assert (True, LARGEST) == (found.ok, len(found.output))


async def test_one_that_cannot_be_started(state_dir: Path) -> None:
    """Said as the system says it."""
    (state_dir / "page").write_text("#!/nowhere\n")
    (state_dir / "page").chmod(0o700)
    found = await run(Program(state_dir / "page", (), state_dir), b"{}", {}, 5.0)
    assert (False, "it cannot be started (No such file or directory)") == (found.ok, found.said)
