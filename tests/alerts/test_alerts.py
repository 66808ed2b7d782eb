"""The whole of it: a running server, its hooks, and receivers on real sockets."""

import asyncio
import json
import os
import re
import signal
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import NotPossible, call
from proxy.alerts import told
from proxy.alerts.alerts import Alerts
from proxy.alerts.notice import Trouble, begun, resolved
from proxy.alerts.post import Pace
from proxy.alerts.sight import Observer
from proxy.app import App
from proxy.config import ConfigInvalid
from proxy.hooks import EVENTS
from proxy.metrics import Metrics
from proxy.serving import Serving
from proxy.settings import read
from tests.alerts.receivers import SECRET, receiving, status
from tests.callers import eventually
from tests.house import ACCOUNT, ORDER, house
from tests.scraped import samples
from tests.workers.house import staffed

DOCS = Path(__file__).resolve().parents[2] / "docs/alerts.md"
LOGIN_FIELDS = ("grant", "mounts", "broker", "environment", "state", "reason")
HALT = {"by": "anna@desk", "reason": "account 26598145 runs wild"}
GUARDED = (
    "bot: {questrade: [read_acc, read_md, trade]}",
    "bot: {questrade: {scopes: [read_acc, read_md, trade], guards: {max_quantity: 5}}}",
)


class Quick(App):
    """Looks fifty times a second, and tries again soon."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        observer = Observer(self, failing=0.1, unusable=0.1)
        self.alerts = Alerts(
            self, observer=observer, look=0.02, drain=0.3, pace=Pace(first=0.02, longest=0.05, tries=3)
        )


SOME = "events: [halted, guard-denied, reload-refused]"  # a house is logged in only after its start


def hooks(**hosts: str) -> tuple[str, str]:
    """A change of the configuration: a webhook for each host, or whatever stands there in braces."""
    lines = [
        f"  {name}: {at}" if at.startswith("{") else f"  {name}: {{url: 'http://{at}/', secret: {SECRET}, {SOME}}}"
        for name, at in hosts.items()
    ]
    return "brokers:", "\n".join(["alerts:", *lines, "brokers:"])


@asynccontextmanager
async def told_by(directory: Path, *changes: tuple[str, str], login: bool = True, **hosts: str) -> Any:
    async with house(directory, hooks(**hosts), *changes, login=login, kind=Quick) as home:
        yield home


async def test_a_day_of_an_operator(state_dir: Path) -> None:
    """Login, guard, halt and their ends arrive in order, signed, once each, without a secret or an account's number."""
    async with (
        receiving() as receiver,
        told_by(state_dir, GUARDED, (f", {SOME}", ""), login=False, ops=receiver.host) as home,
    ):
        await receiver.until(1)
        token = home.simulator.links().refresh_token or ""
        await home.app.operations.login("questrade", token)
        await receiver.until(2)
        json_ = "Content-Type: application/json"
        order = await home.call("POST", f"{ACCOUNT}/orders", json_, body=json.dumps(ORDER).encode())
        assert (403, "guard-denied") == order.problem
        await receiver.until(3)
        await home.app.operations.commands()["halt"](HALT)
        await receiver.until(4)
        await home.app.operations.commands()["resume"](HALT | {"all": True})
        await receiver.until(5)
        assert [
            "login-needed", "login-needed-resolved", "guard-denied", "halted", "resumed",
        ] == receiver.events  # fmt: skip
        needed, _, denied, halted, resumed = (each.document for each in receiver.received)
        assert ("bearerd login questrade", ["questrade"], "simulator") == (
            needed["fix"], needed["mounts"], needed["environment"],
        )  # fmt: skip
        assert ("questrade", "bot", "max_quantity", 1) == tuple(
            denied[name] for name in ("mount", "client", "guard", "count")
        )
        assert "An operator has halted every mount: anna@desk, account ***145 runs wild." == halted["text"]
        assert halted["key"] == resumed["key"]
        async for _ in eventually(5):  # it counts once the answer is read
            if not home.app.operations.status()["alerts"][0]["waiting"]:
                break
        (told_of,) = home.app.operations.status()["alerts"]
        assert (5, 0, None, "204 No Content") == (
            told_of["delivered"], told_of["waiting"], told_of["failing_since"], told_of["last"]["said"],
        )  # fmt: skip
        await asyncio.sleep(0.1)  # a look
        metrics = home.app.operations.metrics().decode()
    assert 'bearerd_alerts_total{hook="ops",outcome="delivered"} 5.0' in metrics
    assert 'bearerd_guard_denials_total{client="bot",guard="max_quantity",mount="questrade"} 1.0' in metrics
    sent = b"".join(each.body for each in receiver.received)
    for secret in (token, home.key, SECRET, "26598145"):
        assert secret.encode() not in sent


async def test_a_grant_that_fails_is_lost_and_is_back(state_dir: Path) -> None:
    """A token endpoint that fails once; then a refresh token that another program has spent; then a login."""
    change = f", {SOME}", ", events: [login-needed, refresh-failing]"
    async with receiving() as receiver, told_by(state_dir, change, login=False, ops=receiver.host) as home:
        await receiver.until(1)
        await home.app.operations.login("questrade", home.simulator.new_refresh_token())
        await receiver.until(2)
        home.simulator.faults.add("token-500")
        home.simulator.expire()
        assert 503 == (await home.call("GET", "/questrade/v1/accounts")).status
        failing = (await receiver.until(3))[-1].document
        await receiver.until(4)
        home.simulator.steal()
        home.simulator.expire()
        assert 503 == (await home.call("GET", "/questrade/v1/accounts")).status
        needed = (await receiver.until(5))[-1].document
        await home.app.operations.login("questrade", home.simulator.new_refresh_token())
        await receiver.until(6)
    first = ["login-needed", "login-needed-resolved", "refresh-failing", "refresh-failing-resolved"]
    assert [*first, "login-needed", "login-needed-resolved"] == receiver.events
    assert "the token endpoint answered 500" in failing["reason"]
    assert ("bearerd login questrade", "needs-login") == (needed["fix"], needed["state"])
    assert "the broker refused the refresh token" in needed["text"]


async def test_a_restart_tells_nothing_twice_and_what_ended_meanwhile_once(state_dir: Path) -> None:
    """A halt outlives three starts: told at the first, not at the second, over at the third. The file is 0600."""
    async with receiving() as receiver:
        async with told_by(state_dir, ops=receiver.host) as home:
            await home.app.operations.commands()["halt"](HALT)
            await receiver.until(1)
        file = state_dir / told.NAME
        assert 0o600 == file.stat().st_mode & 0o777
        plain, changed = hooks(ops=receiver.host)
        text = (state_dir / "config.yaml").read_text()
        (state_dir / "config.yaml").write_text(text.replace(changed, plain))
        async with told_by(state_dir, ops=receiver.host, login=False) as home:
            await asyncio.sleep(0.15)
            assert ["halted"] == receiver.events
            await home.app.operations.commands()["resume"](HALT | {"all": True})
            await receiver.until(2)
        assert ["halted", "resumed"] == receiver.events
        assert {} == told.load(file).get("ops", {})


async def test_a_reload_brings_hooks_and_takes_them(state_dir: Path) -> None:
    """A new one is told what is wrong already; one that stays is not told again; a mistake changes nothing."""
    async with receiving() as one, receiving() as two, told_by(state_dir, one=one.host) as home:
        await home.app.operations.commands()["halt"](HALT)
        await one.until(1)
        await home.rewrite((hooks(one=one.host)[1], hooks(one=one.host, two=two.host)[1]))
        assert ["alerts"] == (await home.app.reload())["changed"]
        await two.until(1)
        await home.rewrite((SECRET, "whsec_short"))
        with pytest.raises(Exception, match="no signing secret"):
            await home.app.reload()
        await two.until(2)
        await home.rewrite(("whsec_short", SECRET), (hooks(one=one.host, two=two.host)[1], hooks(two=two.host)[1]))
        await home.app.reload()
        await two.until(3)
        assert ["halted", "reload-refused", "reload-refused-resolved"] == two.events
        assert ["halted"] == one.events[:1]
        assert ["two"] == [each["name"] for each in home.app.operations.status()["alerts"]]
        told_before = len(one.events)
        await home.rewrite((hooks(two=two.host)[1], hooks(one=one.host, two=two.host)[1]))
        await home.app.reload()
        await one.until(told_before + 1)
        await asyncio.sleep(0.1)  # a look
        metrics = home.app.operations.metrics()
    counted = samples(metrics, "bearerd_alerts_total")
    assert counted[("hook", "one"), ("outcome", "delivered")] > 1, "what is counted goes back"


async def test_a_hook_that_hangs_slows_neither_calls_nor_the_stop(state_dir: Path) -> None:
    """A receiver that never answers, one that is not there, a command that sleeps: calls pass, the other hook hears."""
    gone = "127.0.0.1:9"
    slow = "{command: [sleep, '60'], timeout: 60, events: [halted]}"
    async with receiving(b"") as hanging, receiving() as well:
        ways = {"a": hanging.host, "b": gone, "c": slow, "d": well.host}
        async with told_by(state_dir, login=True, **ways) as home:
            await home.app.operations.commands()["halt"](HALT)
            await well.until(1)
            await hanging.until(1)
            loop = asyncio.get_running_loop()
            began = loop.time()
            for _ in range(20):
                assert 200 == (await home.call("GET", "/questrade/v1/accounts")).status
            assert loop.time() - began < 2
            async with asyncio.timeout(5):
                while not home.app.alerts.warnings():  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            (warning,) = home.app.alerts.warnings()
            assert warning.startswith("the alert hook b fails: the connection was refused")
            began = loop.time()
            await home.app.stop()
            assert loop.time() - began < 2


async def test_what_happens_at_the_last_moment_is_still_told(state_dir: Path) -> None:
    """A stop gives what waits a moment."""
    async with receiving() as receiver:
        async with told_by(state_dir, ops=receiver.host) as home:
            await asyncio.sleep(0.1)
            home.app.alerts._every = 60.0
            await asyncio.sleep(0.1)
            await home.app.operations.commands()["halt"](HALT)
            await home.app.stop()
        assert ["halted"] == receiver.events


async def test_an_operator_tries_hooks(state_dir: Path) -> None:
    """One, or all, over the admin socket: what came back, without the secret parts; a name that is none is told."""
    command = "{command: [sh, -c, 'cat >/dev/null; echo paged 26598145; exit 3'], events: [halted]}"
    async with (
        receiving(status("418 I'm a Teapot", body=b"short and stout")) as pot,
        told_by(state_dir, pot=pot.host, page=command) as home,
    ):
        found = (await call(state_dir / "admin.sock", "alerts-test", {"hook": None}, timeout=10))["tests"]
        assert [("pot", False, "418 I'm a Teapot", "short and stout"), ("page", False, "exit 3", "paged ***145")] == [
            (each["hook"], each["ok"], each["said"], each["output"]) for each in found
        ]
        assert {"test"} == set(pot.events)
        with pytest.raises(NotPossible, match="there is no alert hook 'pott'; known: pot, page"):
            await home.app.alerts.test({"hook": "pott"})


async def test_without_hooks_nothing_is_looked_at(state_dir: Path) -> None:
    """And nothing is written; a test says that there is nobody."""
    async with house(state_dir, kind=Quick) as home:
        await asyncio.sleep(0.1)
        assert (None, {}) == (home.app.alerts._denials, home.app.alerts._troubles.open)
        with pytest.raises(NotPossible, match="there are no hooks"):
            await home.app.alerts.test({})
    assert not (state_dir / told.NAME).exists()


def test_a_refusal_in_a_worker_is_counted_in_custody() -> None:
    """What a worker's `Serving` has counted arrives with all other counts; strange names open no series."""

    class NoCalls:
        def ended(self, *_: object) -> None: ...

    worker, custody = Metrics(), Metrics()
    for metrics in (worker, custody):
        metrics.allow(mounts=["questrade"], clients=["bot"], templates=(), grants=())
    serving = Serving(worker, NoCalls())  # type: ignore[arg-type]
    for client, rule in (("bot", "accounts"), ("bot", "accounts"), ("stranger", "some row")):
        record = serving.begin("GET", "1")
        record.mount, record.client, record.rule, record.outcome = "questrade", client, rule, "guard-denied"
        serving.end(record, 0.0)
    custody.absorb("worker-1", json.loads(json.dumps(worker.snapshot())))
    assert {("questrade", "bot", "accounts"): 2.0, ("questrade", "other", "other"): 1.0} == {
        labels: cell[0] for labels, cell in custody.cells("guard_denials")
    }


@pytest.mark.soak
async def test_with_workers_everything_is_told_once(state_dir: Path) -> None:
    """A read that a worker refuses, an order that custody does, a halt; a custody that is killed tells none again."""
    async with receiving() as receiver:
        way = {"url": f"http://{receiver.host}/", "secret": SECRET, "events": ["halted", "guard-denied"]}
        more: dict[str, Any] = {"alerts": {"ops": way}}
        scopes = ["read_acc", "read_md", "trade"]
        guards = {"accounts": ["11111111"]}
        more |= {"clients": {"bot": {"questrade": {"scopes": scopes, "guards": guards}}}}
        async with staffed(state_dir, more=more) as staff:
            assert 403 == (await staff.ask(f"{ACCOUNT}/positions")).status
            (first,) = await receiver.until(1)
            assert ("accounts", "bot") == (first.document["guard"], first.document["client"])
            assert 403 == (await staff.ask(f"{ACCOUNT}/orders", "POST", ORDER)).status
            await staff.command("halt", **HALT)
            await receiver.until(2)
            killed = staff.custody()
            os.kill(killed, signal.SIGKILL)
            await staff.restarted(killed)
            await asyncio.sleep(2.5)
            assert ["guard-denied", "halted"] == receiver.events
            await staff.command("resume", **HALT, all=True)
            await receiver.until(3)
        assert ["guard-denied", "halted", "resumed"] == receiver.events


def test_the_configuration_of_the_page_can_be_loaded(state_dir: Path) -> None:
    """All that is missing is the program that it names."""
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (state_dir / "alerts.secret").write_text(SECRET + "\n")
    (state_dir / "alerts.secret").chmod(0o600)
    (state_dir / "config.yaml").write_text(f"clients: none\n{text}")
    with pytest.raises(ConfigInvalid) as caught:
        read(state_dir / "config.yaml", {"HOME": str(state_dir)})
    assert ["there is no such program"] == [problem.message for problem in caught.value.problems]


def test_the_examples_of_the_page_are_what_is_sent() -> None:
    """The first has every field of a needed login, and no other; all are JSON, with words of ours."""
    whole, some = re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)
    login = Trouble("login-needed", "questrade", "it", 0.0, about=dict.fromkeys(LOGIN_FIELDS))
    assert set(begun(login, "", 0.0).document("")) == set(json.loads(whole))
    for line in re.sub(r"\n (?=\S)", " ", some).splitlines():
        example = json.loads(line)
        assert example["key"].partition("/")[0] in EVENTS
        assert {"problem": True, "resolved": False, "notice": True}[example["kind"]] == (example["event"] in EVENTS)


@pytest.mark.parametrize("index", range(len(re.findall(r"```sh\n#!", DOCS.read_text()))))
def test_the_scripts_of_the_page_are_scripts(index: int) -> None:
    """A shell takes them."""
    script = re.findall(r"```sh\n(#!.*?)```", DOCS.read_text(), re.DOTALL)[index]
    assert 0 == subprocess.run(["sh", "-n"], input=script.encode(), check=False).returncode


def test_every_event_is_documented() -> None:
    """Each has a row with its all-clear, and an example."""
    text = DOCS.read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (?:`([a-z-]+)`)? ?\| .+ \| .+ \|$", text, re.MULTILINE))
    assert {event: "" if event == "guard-denied" else resolved(event) for event in EVENTS} == rows
    assert [] == [event for event in EVENTS if f'"event": "{event}"' not in text]
