"""The supervisor with small programs in the places of custody and workers. The real ones: `test_worker.py`."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from proxy.workers.supervisor import Supervisor, surroundings, worker_command

# Says that it is ready; then does what a file of its own tells it, once.
CUSTODY = """
import json, os, pathlib, socket, struct, sys
link = socket.socket(fileno=int(sys.argv[2]))
def say(kind, data=None, files=()):
    text = json.dumps([kind, data]).encode()
    socket.send_fds(link, [struct.pack("!BBxxII", 1, len(files), len(text), 0) + text], files)
home = pathlib.Path(sys.argv[1])
number = len(list(home.glob("custody-*")))
(home / f"custody-{number}").write_text(str(os.getpid()))
data, files, _, _ = socket.recv_fds(link, 65536, 8)
begin = json.loads(data[12:12 + struct.unpack_from("!I", data, 4)[0]])[1]
(home / f"begin-{number}").write_text(json.dumps(begin["sockets"]))
if number == 0:
    door = socket.create_server(("127.0.0.1", 0))
    say("listening", " door", [door.fileno()])
say("ready")
while data := link.recv(65536):
    pass
"""
WORKER = """
import os, pathlib, socket, sys
link = socket.socket(fileno=int(sys.argv[2]))
home = pathlib.Path(sys.argv[1])
(home / f"worker-{os.getpid()}").write_text("x")
while link.recv(65536):
    pass
"""


def command(code: str, home: Path) -> list[str]:
    return [sys.executable, "-S", "-c", code, str(home)]


async def pids(home: Path, pattern: str, count: int) -> list[int]:
    """The processes that have said so far that they run, once there are so many."""
    async with asyncio.timeout(10):
        while True:
            found = await asyncio.to_thread(lambda: sorted(home.glob(pattern)))
            if len(found) >= count:
                return [int(each.name.rpartition("-")[2]) for each in found]
            await asyncio.sleep(0.01)


async def test_what_dies_is_started_again_and_all_end_with_custody(tmp_path: Path) -> None:
    """A killed worker; then custody, which gets the listening sockets of the one before it."""
    told: list[str] = []
    supervisor = Supervisor(command(CUSTODY, tmp_path), command(WORKER, tmp_path), 2, told.append)
    running = asyncio.gather(supervisor.run())
    workers = await pids(tmp_path, "worker-*", 2)
    await pids(tmp_path, "begin-*", 1)
    os.kill(workers[0], signal.SIGKILL)
    workers = await pids(tmp_path, "worker-*", 3)
    first = int(await asyncio.to_thread((tmp_path / "custody-0").read_text))
    await asyncio.sleep(0.05)
    os.kill(first, signal.SIGKILL)
    await pids(tmp_path, "begin-*", 2)
    assert await asyncio.to_thread((tmp_path / "begin-0").read_text) == "[]"
    assert await asyncio.to_thread((tmp_path / "begin-1").read_text) == '[" door"]'
    os.kill(os.getpid(), signal.SIGTERM)
    (code,) = await running
    assert code == 128 + signal.SIGTERM  # the small custody does not end by itself
    for pid in workers[1:]:
        assert not (Path("/proc") / str(pid)).exists()
    assert [line.partition(" ended")[0].rstrip("12") for line in told] == ["worker ", "the process that keeps custody"]


async def test_a_custody_that_cannot_start_is_not_started_again(tmp_path: Path) -> None:
    """Its exit code is ours."""
    supervisor = Supervisor([sys.executable, "-S", "-c", "raise SystemExit(3)"], command(WORKER, tmp_path), 1)
    assert await supervisor.run() == 3


def test_a_worker_gets_nothing_of_the_environment_that_may_be_a_secret() -> None:
    """And on its command line stand the event loop's name, and a number."""
    os.environ["BEARERD_STORE_PASSWORD"] = "canary"
    try:
        found = surroundings()
    finally:
        del os.environ["BEARERD_STORE_PASSWORD"]
    assert not [name for name in found if name.startswith("BEARERD")]
    assert worker_command("auto")[1:] == ["-P", "-m", "proxy.workers", "auto"]


async def test_a_worker_that_cannot_be_started_ends_nobody_else(tmp_path: Path) -> None:
    """For want of memory, say: it is tried again, and custody goes on."""
    supervisor = Supervisor(command(CUSTODY, tmp_path), [str(tmp_path / "missing")], 1)
    running = asyncio.gather(supervisor.run())
    await pids(tmp_path, "begin-*", 1)
    await asyncio.sleep(0.05)
    assert not running.done()
    os.kill(os.getpid(), signal.SIGTERM)
    (code,) = await running
    assert code == 128 + signal.SIGTERM
