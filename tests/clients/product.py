"""The product as a person starts it: `bearerd demo`, its command line, and the control address of its simulator."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.product import ACCOUNT, Reply, command, demo, run, send, state

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
OPEN_ORDER, FILLED_ORDER = 177106005, 177106006  # ids of the two that `started` places


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo. `report` is its line on stdout, `home` where its commands are typed."""

    home: Path
    report: Mapping[str, Any]
    _token_files: dict[str, str] = field(default_factory=dict, repr=False)

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

    def at(self, mount: str, *, root: bool = False) -> str:
        """The address of a mount, or its own port; without a slash at the end."""
        return str(self.report["mounts"][mount]["root_url" if root else "url"])

    def account(self, broker: str, number: int = 0) -> str:
        """An account number or id of a simulated broker."""
        return str(self.report["accounts"][broker][number])

    def placed(self, broker: str) -> int:
        """How many orders a simulated broker has ever accepted."""
        return int(state(self.report["control"], broker)["orders"])

    def reached(self, broker: str) -> int:
        """How many calls have reached a simulated broker."""
        return sum(state(self.report["control"], broker)["calls"].values())

    def calls_of(self, broker: str, method: str, path: str) -> int:
        """How many calls of one kind have reached a simulated broker."""
        return int(state(self.report["control"], broker)["calls"].get(f"{method} {path}", 0))

    @property
    def token_url(self) -> str:
        """The emulated token endpoint, as clients write it down: the token follows."""
        return f"{self.url}/oauth2/token?grant_type=refresh_token&refresh_token="

    def call(self, method: str, target: str, body: object = None, *, key: str | None = None) -> Reply:
        """One call to the mount with the client key, or with another."""
        return send(method, self.url + target, body, Authorization=f"Bearer {key or self.key}")

    def ask(self, mount: str, target: str, method: str = "GET", body: object = None) -> Any:
        """What a mount answers to the key that may do everything, as a document."""
        headers = {"Authorization": f"Bearer {self.trader_key}", "Accept": "application/json"}
        headers |= {} if body is None else {"Content-Type": "application/json"}
        reply = send(method, self.at(mount) + target, body, **headers)
        assert 2 == reply.status // 100, reply.body
        return reply.document

    def place(self, order: Mapping[str, Any]) -> Reply:
        return self.call("POST", f"/v1/accounts/{ACCOUNT}/orders", order, key=self.trader_key)

    def state(self) -> Any:
        """The simulator's counts."""
        return state(self.report["control"])

    def control(self, path: str) -> None:
        command(self.report["control"], path)

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
        done = run(self.home, "-c", self.report["config"], *arguments, environ=environ)
        assert 0 == done.code, done.err
        return done.out

    def token_file(self, form: str) -> str:
        """The token file that `bearerd env` writes for one library."""
        if form not in self._token_files:
            self._token_files[form] = self.bearerd("env", "questrade", "--format", form, BEARERD_KEY=self.key)
        return self._token_files[form]

    @contextmanager
    def allowing(self, scope: str) -> Iterator[None]:
        """Add a scope to the rights of the first client."""
        with self._edited(lambda document: document["clients"]["demo"]["questrade"].append(scope)):
            yield

    @contextmanager
    def guarded(self, guards: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
        """Mount → guards: on the mount itself, and in its own words among the rights of whoever may trade there."""

        def edit(document: Any) -> None:
            for mount, asked in guards.items():
                document["mounts"][mount]["guards"] = dict(asked)
                rights = document["clients"]["trader"]
                rights[mount] = {"scopes": rights[mount], "guards": {"orders_per_minute": 100}}

        with self._edited(edit):
            yield

    @contextmanager
    def _edited(self, edit: Callable[[Any], None]) -> Iterator[None]:
        """As a person would: edit the file, `bearerd reload`."""
        config = Path(self.report["config"])
        before = config.read_text()
        document = yaml.safe_load(before)
        edit(document)
        try:
            config.write_text(yaml.safe_dump(document))
            self.bearerd("reload")
            yield
        finally:
            config.write_text(before)
            self.bearerd("reload")


@contextmanager
def started(home: Path) -> Iterator[Demo]:
    """A demo with an open and a filled order in its account."""
    with demo(home) as report:
        running = Demo(home, report)
        placed = [running.place(order) for order in (LIMIT_ORDER, MARKET_ORDER)]
        assert [OPEN_ORDER, FILLED_ORDER] == [reply.document.get("orderId") for reply in placed]
        time.sleep(1.0)  # kwess asks for what happened up to the last whole second
        yield running
