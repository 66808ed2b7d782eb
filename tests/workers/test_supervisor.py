"""The supervisor with small programs in the places of custody and workers. The real ones: `test_worker.py`."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from proxy import __version__
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


async def test_a_stop_while_custody_starts_is_no_failure(tmp_path: Path) -> None:
    """Though that dies of the signal, since it does not listen to any yet."""
    code = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1], f'custody-{os.getpid()}').touch(); time.sleep(30)"
    async with asyncio.TaskGroup() as group:
        running = group.create_task(Supervisor(command(code, tmp_path), command(WORKER, tmp_path), 1).run())
        await pids(tmp_path, "custody-*", 1)
        os.kill(os.getpid(), signal.SIGTERM)
    assert 0 == running.result()


@pytest.mark.parametrize("who", ["custody", "worker"])
async def test_a_server_whose_files_were_replaced_ends_or_serves_on(tmp_path: Path, who: str) -> None:
    """A custody of another version has no supervisor that fits: all ends. A worker is tried again, later."""
    other = "raise SystemExit(75)"
    again = f"""
import pathlib, sys
if list(pathlib.Path(sys.argv[1]).glob("custody-*")):
    {other}
"""
    custody = command(again + CUSTODY, tmp_path) if who == "custody" else command(CUSTODY, tmp_path)
    told: list[str] = []
    worker = command(WORKER if who == "custody" else other, tmp_path)
    running = asyncio.gather(Supervisor(custody, worker, 1, told.append).run())
    await pids(tmp_path, "begin-*", 1)
    if who == "worker":
        await asyncio.sleep(1.0)
        assert ["worker 1 ended (exit 75) and is started again"] == told
        os.kill(os.getpid(), signal.SIGTERM)
        await running
        return
    await asyncio.sleep(0.05)
    os.kill(int(await asyncio.to_thread((tmp_path / "custody-0").read_text)), signal.SIGKILL)
    (code,) = await running
    assert 1 == code


def test_a_worker_gets_nothing_of_the_environment_that_may_be_a_secret() -> None:
    """And on its command line stand the event loop's name, and a number."""
    os.environ["BEARERD_STORE_PASSWORD"] = "canary"
    try:
        found = surroundings()
    finally:
        del os.environ["BEARERD_STORE_PASSWORD"]
    assert not [name for name in found if name.startswith("BEARERD")]
    assert worker_command("auto")[1:] == ["-P", "-m", "proxy.workers", "auto", __version__]


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


# Says that it is ready when it is told to, counts the hang-ups that reach it, and gives so many signs of life.
TALKING = """
import json, os, pathlib, signal, socket, struct, sys, time
link, home = socket.socket(fileno=int(sys.argv[2])), pathlib.Path(sys.argv[1])
def say(kind, data=None):
    text = json.dumps([kind, data]).encode()
    link.sendall(struct.pack("!BBxxII", 1, 0, len(text), 0) + text)
hung = []
signal.signal(signal.SIGHUP, lambda *_: hung.append(1))
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
(home / "begun-1").touch()
while not (home / "go").exists():
    time.sleep(0.005)
say("ready")
while not hung:
    time.sleep(0.005)
say("tell", {"READY": "1", "STATUS": f"after {len(hung)} hang-up"})
for _ in range(20):
    say("tell", {"WATCHDOG": "1"})
    time.sleep(0.01)
say("tell", {"STATUS": "silent"})
while link.recv(65536):
    pass
"""


class Told:
    """A service manager that waits for signs of life."""

    listens, every = True, 0.02

    def __init__(self) -> None:
        self.heard: list[dict[str, str]] = []

    def tell(self, **fields: str) -> None:
        self.heard.append(fields)


async def test_the_service_manager_hears_of_custody_and_only_while_that_lives(tmp_path: Path) -> None:
    """What it says goes on; a hang-up that came before it was ready reaches it once it is."""
    manager = Told()
    supervisor = Supervisor(command(TALKING, tmp_path), command(WORKER, tmp_path), 1, manager=manager)
    running = asyncio.gather(supervisor.run())
    await pids(tmp_path, "begun-*", 1)
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.sleep(0.1)
    assert manager.heard.count({"WATCHDOG": "1"}) > 1, "while it starts nobody else can say so"
    (tmp_path / "go").touch()
    async with asyncio.timeout(10):
        while {"STATUS": "silent"} not in manager.heard:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert {"READY": "1", "STATUS": "after 1 hang-up"} in manager.heard
    await asyncio.sleep(0.1)
    before = len(manager.heard)
    await asyncio.sleep(0.2)
    assert before == len(manager.heard), "it gives no sign of life for one that gives none"
    os.kill(os.getpid(), signal.SIGTERM)
    (code,) = await running
    assert code == 0


# Gives signs of life for a while, and then works on and on.
HANGING = """
import json, os, pathlib, socket, struct, sys, time
link, home, who = socket.socket(fileno=int(sys.argv[-1])), pathlib.Path(sys.argv[1]), sys.argv[2]
def say(kind, data=None):
    text = json.dumps([kind, data]).encode()
    link.sendall(struct.pack("!BBxxII", 1, 0, len(text), 0) + text)
number = len(list(home.glob(f"{who}-*")))
(home / f"{who}-{os.getpid()}").touch()
say("ready")
for _ in range(20):
    say("alive")
    time.sleep(0.02)
    if (home / "over").exists():
        os._exit(0)
while number == 0 and not (home / "over").exists():
    pass
while not (home / "over").exists():
    say("alive")
    time.sleep(0.02)
os._exit(0)
"""


async def test_what_hangs_is_killed_and_started_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An endless loop in custody and in a worker: each is replaced once, and the next one is left alone."""
    told: list[str] = []
    commands = [[*command(HANGING, tmp_path), who] for who in ("custody", "worker")]
    running = asyncio.gather(Supervisor(commands[0], commands[1], 1, told.append, silence=0.6).run())
    for who in ("custody", "worker"):
        await pids(tmp_path, f"{who}-*", 2)
    await asyncio.sleep(0.8)
    for who in ("custody", "worker"):
        assert len(await pids(tmp_path, f"{who}-*", 2)) == 2
    (tmp_path / "over").touch()
    (code,) = await running
    assert code == 0
    assert sorted(told)[:2] == [
        "the process that keeps custody ended (SIGKILL) and is started again",
        "worker 1 ended (SIGKILL) and is started again",
    ]
    said = [each.msg for each in caplog.records if isinstance(each.msg, dict) and "hangs" in each.msg["event"]]
    assert {each["process"] for each in said} == {"the process that keeps custody", "worker 1"}
    assert all(0.6 <= each["silent"] < 1.2 for each in said)
