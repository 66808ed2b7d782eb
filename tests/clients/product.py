"""The product as a person starts it: `bearerd demo`, its command line, and the control address of its simulator."""

import http.client
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
ACCOUNT = "26598145"
COMMAND = [sys.executable, "-P", "-m", "proxy"]
START = 40.0  # seconds, on a busy machine
STOP = 10.0  # seconds; what the demo promises

LIMIT_ORDER: Mapping[str, Any] = {
    "accountNumber": ACCOUNT,
    "symbolId": 8049,
    "quantity": 10,
    "icebergQuantity": 1,
    "limitPrice": 100.5,
    "isAllOrNone": True,
    "isAnonymous": False,
    "orderType": "Limit",
    "timeInForce": "GoodTillCanceled",
    "action": "Buy",
    "primaryRoute": "AUTO",
    "secondaryRoute": "AUTO",
}
MARKET_ORDER = {**LIMIT_ORDER, "orderType": "Market", "timeInForce": "Day", "limitPrice": None}
OPEN_ORDER, FILLED_ORDER = 177106005, 177106006  # ids of the two that `Demo.start` places


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Demo:
    """One running demo. `report` is its line on stdout."""

    process: "subprocess.Popen[str]"
    report: Mapping[str, Any]
    _token_files: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def start(cls, errors: Path) -> Self:
        """Start it, with an open and a filled order in its account. What it writes on stderr goes to `errors`."""
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                [*COMMAND, "demo", "--json", "--port", "0"],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=_environ(),
            )
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START)
        line = process.stdout.readline() if ready else ""
        demo = cls(process, json.loads(line or "{}"))
        try:
            assert line, f"the demo did not start:\n{errors.read_text()}"
            placed = [demo.place(order) for order in (LIMIT_ORDER, MARKET_ORDER)]
            assert [OPEN_ORDER, FILLED_ORDER] == [reply.document.get("orderId") for reply in placed]
            time.sleep(1.0)  # kwess asks for what happened up to the last whole second
        except BaseException:
            demo.stop()
            raise
        return demo

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(STOP)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()

    @property
    def key(self) -> str:
        """The key that may do everything but orders."""
        return str(self.report["client_key"])

    @property
    def trader_key(self) -> str:
        return str(self.report["trader_key"])

    @property
    def url(self) -> str:
        """Of the mount, without a slash at the end."""
        return str(self.report["mounts"]["questrade"]["url"])

    @property
    def root_url(self) -> str:
        return str(self.report["mounts"]["questrade"]["root_url"])

    @property
    def token_url(self) -> str:
        """The emulated token endpoint, as clients write it down: the token follows."""
        return f"{self.url}/oauth2/token?grant_type=refresh_token&refresh_token="

    def send(self, method: str, url: str, body: object = None, **headers: str) -> Reply:
        """One request, its target untouched."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=20)
        document = None if body is None else json.dumps(body)
        try:
            connection.request(method, url.removeprefix(f"http://{parts.netloc}") or "/", document, headers)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()

    def call(self, method: str, target: str, body: object = None, *, key: str | None = None) -> Reply:
        """One call to the mount with the client key, or with another."""
        return self.send(method, self.url + target, body, Authorization=f"Bearer {key or self.key}")

    def place(self, order: Mapping[str, Any]) -> Reply:
        return self.call("POST", f"/v1/accounts/{ACCOUNT}/orders", order, key=self.trader_key)

    def state(self) -> Any:
        """The simulator's counts."""
        return self.send("GET", f"{self.report['control']}/state").document["questrade"]

    def control(self, path: str) -> None:
        reply = self.send("POST", self.report["control"] + path, {"broker": "questrade"})
        assert 200 == reply.status

    @property
    def orders(self) -> int:
        """How many orders the simulated broker has ever accepted."""
        return int(self.state()["orders"])

    @property
    def calls(self) -> int:
        """How many calls have reached the simulated broker."""
        return sum(self.state()["calls"].values())

    def bearerd(self, *arguments: str, **environ: str) -> str:
        """What one command prints, run with the demo's configuration."""
        command = [*COMMAND, "-c", self.report["config"], *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, env=_environ() | environ, timeout=30, check=False
        )
        assert (0, "") == (done.returncode, "" if done.returncode == 0 else done.stderr)
        return done.stdout

    def token_file(self, form: str) -> str:
        """The token file that `bearerd env` writes for one library."""
        if form not in self._token_files:
            self._token_files[form] = self.bearerd("env", "questrade", "--format", form, BEARERD_KEY=self.key)
        return self._token_files[form]

    @contextmanager
    def allowing(self, scope: str) -> Iterator[None]:
        """Add a scope to the rights of the first client, as a person would: edit the file, `bearerd reload`."""
        config = Path(self.report["config"])
        before = config.read_text()
        document = yaml.safe_load(before)
        document["clients"]["demo"]["questrade"].append(scope)
        try:
            config.write_text(yaml.safe_dump(document))
            self.bearerd("reload")
            yield
        finally:
            config.write_text(before)
            self.bearerd("reload")


def _environ() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}
