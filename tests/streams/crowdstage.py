"""The running product between a simulated Alpaca and a crowd of clients, and a bare relay, each a process."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from proxy.store.keys import Source
from tests.measured import Measured
from tests.product import COMMAND, Program, command, run

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
version: 1
listen: 127.0.0.1:0
console: "off"
store: sqlite:store.db
key: file:master.key
log: {{level: error}}
limits: {{sockets_per_client: 5000, connections: 6000, in_flight_per_client: 5000}}
mounts: {{feed: {{broker: alpaca, api: stream, environment: simulator, scopes: [data]}}}}
grants: {{feed: {{login: client-credentials, client_id: {client_id}, client_secret_file: feed.secret}}}}
clients: {{bot: {{feed: [data]}}}}
brokers: {{alpaca: {{environments: {{simulator: {environment}}}}}}}
"""


@dataclass(frozen=True)
class Server(Measured):
    """Something that serves the feed, and its process. `key`: what its clients show."""

    url: str
    key: str
    process: psutil.Process


@dataclass(frozen=True)
class Stage:
    """bearerd in front of the simulated broker, and a bare relay beside it."""

    hub: Server
    control: str
    broker: str
    ca_file: str
    pair: str

    def turn(self, **knobs: object) -> None:
        """Turn knobs of the simulated streams."""
        command(self.control, "/stream", "alpaca", **knobs)

    def fault(self, name: str) -> None:
        command(self.control, "/faults", "alpaca", fault=name, times=1)

    def expire(self) -> None:
        """The access token is dead from now on."""
        command(self.control, "/expire", "alpaca")

    @contextmanager
    def bare(self) -> Iterator[Server]:
        """A relay with aiohttp, one socket at the broker for each client, that does nothing but pass frames on."""
        arguments = ("-m", "tests.streams.barerelay", self.broker, self.ca_file)
        relay = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        with relay:
            assert relay.stdin is not None
            assert relay.stdout is not None
            relay.stdin.write(f"{self.pair}\n")
            relay.stdin.flush()
            yield Server(f"http://127.0.0.1:{int(relay.stdout.readline())}/v2/iex", "nobody", psutil.Process(relay.pid))
            relay.terminate()


class Crowd:
    """The clients, in a process of their own; connected when this is made."""

    def __init__(self, server: Server, count: int, *options: str) -> None:
        arguments = ("-m", "tests.streams.crowd", server.url, server.key, "--count", str(count), *options)
        self._process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self._process.stdout is not None
        self._out = self._process.stdout
        assert "ready\n" == self._out.readline()

    def _go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def count(self) -> None:
        """Count from now on."""
        self._go_on()

    def seen(self) -> dict[str, Any]:
        """Stop counting, and leave: what was seen."""
        self._go_on()
        found: dict[str, Any] = json.loads(self._out.readline())
        self.leave()
        return found

    def leave(self) -> None:
        """End all clients at once."""
        assert self._process.stdin is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._out.close()


@contextmanager
def staged(home: Path) -> Iterator[Stage]:
    """The product, logged in, with one client `bot`."""
    with ExitStack() as held:
        simulate = ("simulate", "--broker", "alpaca", "--json", "--directory", str(home / "ca"))
        simulator = held.enter_context(Program(home, *simulate, command=COMMAND))
        alpaca: dict[str, Any] = simulator.document()
        found = alpaca["brokers"]["alpaca"]
        needs = found["logins"]["client-credentials"]
        (home / "feed.secret").write_text(needs["client_secret"])
        (home / "feed.secret").chmod(0o600)
        environment = json.dumps(found["environment"])
        (home / "config.yaml").write_text(CONFIG.format(client_id=needs["client_id"], environment=environment))
        config = ("--config", str(home / "config.yaml"))
        Source("file:master.key", home).create()
        server = held.enter_context(Program(home, "serve", *config, command=COMMAND))
        server.until("serves http")
        address = re.search(r"serves (http://\S+)", server.output)
        assert address is not None
        made = run(home, "clients", "add", "bot", "--json", *config)
        login = run(home, "login", "feed", *config)
        assert (0, 0) == (made.code, login.code), made.output + login.output
        url = f"{address[1]}/feed/v2/iex"
        hub = Server(url, made.document["key"], psutil.Process(server.pid))
        broker = f"{found['environment']['api_servers']['stream']}/v2/iex"
        yield Stage(hub, alpaca["control"], broker, alpaca["ca_file"], found["logins"]["keys"]["secret"])
