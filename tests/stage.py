"""The product on a stage: driven through everything that goes well and wrong, while all that it writes is collected.

Every token, key and password is known here by name. What is written is kept by surface (see `test_leaks.py`).
"""

import asyncio
import base64
import contextlib
import json
import os
import re
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from proxy.admin import CommandFailed, call
from proxy.simulator import serve
from proxy.simulator.questrade.broker import Questrade
from proxy.simulator.questrade.options import Options
from proxy.store.keys import Source
from tests import canaries
from tests import receiver as collectors
from tests.alerts.receivers import Receiver, receiving
from tests.callers import Wire, ask, eventually
from tests.product import COMMAND, Program, Reply, command, run
from tests.stagelogin import log_in_over_the_page, with_page

ACCOUNTS = "/questrade/v1/accounts"
ORDERS = "/questrade/v1/accounts/26598145/orders"
SCOPES = ["read_acc", "read_md", "trade"]
ORDER = {
    "symbolId": 8049, "quantity": 1, "action": "Buy", "orderType": "Limit", "timeInForce": "Day", "limitPrice": 9,
}  # fmt: skip
SLOW_FAULTS = {"token-hang", "api-hang", "api-hang-after"}  # they show nothing that a lost connection does not


@dataclass
class Stage:
    """The product under test, what it has written by surface, and every secret by name."""

    directory: Path
    simulator: Questrade
    control: str
    surfaces: dict[str, bytes] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    server: Program | None = None
    told: Receiver | None = None
    collector: collectors.Receiver | None = None
    url: str = ""
    console: str = ""

    def note(self, surface: str, content: bytes | str) -> None:
        """Add what was written to a surface."""
        content = content.encode() if isinstance(content, str) else content
        self.surfaces[surface] = self.surfaces.get(surface, b"") + content + b"\n"

    def secret(self, name: str, text: str | None = None) -> str:
        """A new secret, or one that has become known."""
        self.secrets[name] = text or f"canary-{name.replace(' ', '-')}-{secrets.token_urlsafe(18)}"
        return self.secrets[name]

    async def bearerd(self, *arguments: str, code: int = 0, surface: str = "", **how: Any) -> str:
        """One command, its output noted under its words."""
        done = await asyncio.to_thread(run, self.directory, *arguments, "-c", "config.yaml", **how)
        self.note(surface or "bearerd " + " ".join(arguments), done.output)
        assert code == done.code, done.output
        return done.output

    async def ask(self, surface: str, target: str, method: str = "GET", body: object = None, **headers: str) -> int:
        """One call with the client's key; the whole answer is noted."""
        reply = await ask(self.url, method, target, self.keys["bot"], body, **headers)
        self.note(surface, reply.raw)
        return reply.status

    async def raw(self, surface: str, url: str, data: bytes) -> None:
        """Exact bytes; whatever comes back is noted."""
        wire = Wire(url)
        await wire.send(data)
        reply = await wire.reply()
        self.note(surface, reply.raw if reply is not None else b"(closed)")
        await wire.close()

    async def login(self, name: str, *, fails: bool = False) -> None:
        """Log in over the admin socket with a new refresh token; an answer or a refusal is noted."""
        token = self.secret(f"refresh token {name}", self.simulator.new_refresh_token())
        socket = self.directory / "state/admin.sock"
        try:
            answer = json.dumps(await call(socket, "login", {"mount": "questrade", "token": token}, timeout=30))
        except CommandFailed as error:
            assert fails, name
            answer = str(error)
        self.note("answers of the admin socket", answer)

    def learn_tokens(self) -> None:
        """Every token that the simulator has ever issued."""
        grants = self.simulator._grants
        for number, token in enumerate([*grants._issued_access, *grants._spent, *grants._by_refresh]):
            self.secret(f"issued token {number}", token)


def configuration(environment: object) -> dict[str, Any]:
    return {
        "listen": "127.0.0.1:0",
        "console": "127.0.0.1:0",
        "store": "sqlite:state/store.db",
        "key": "file:master.key",
        "mounts": {"questrade": {"broker": "questrade", "environment": "simulator", "scopes": SCOPES}},
        "clients": {"bot": {"questrade": SCOPES}, "other": {"questrade": ["read_acc"]}},
        "brokers": {"questrade": {"environments": {"simulator": environment}}},
    }


def with_hooks(stage: Stage, document: dict[str, Any], receiver: Receiver) -> None:
    """A webhook and a command hear of everything that goes wrong; what they get is kept."""
    stage.told = receiver
    key = base64.b64encode(secrets.token_bytes(24)).decode()
    path = stage.secret("address of a webhook")
    document["alerts"] = {
        "ops": {
            "url": f"http://{receiver.host}/{path}?token={stage.secret('token of a webhook')}",
            "secret": "whsec_" + stage.secret("signing secret", key),
        },
        "page": {"command": ["sh", "-c", "env >> page.txt; cat >> page.txt; tail -n 1 page.txt"]},
    }


def with_tracing(stage: Stage, document: dict[str, Any], collector: collectors.Receiver) -> None:
    """Every call is traced; the collector asks for a key of its own."""
    file = stage.directory / "collector.headers"
    file.write_text(f"Authorization: Bearer {stage.secret('key of the collector')}\n")
    file.chmod(0o600)
    document["tracing"] = {"endpoint": collector.url, "headers_file": file.name}


async def look_at_the_doctor(stage: Stage) -> None:
    """What it finds, in words and as JSON."""
    for arguments in (("doctor",), ("doctor", "--json")):
        done = await asyncio.to_thread(run, stage.directory, *arguments, "-c", "config.yaml")
        stage.note("bearerd doctor", done.output)


async def look_at_the_alerts(stage: Stage) -> None:
    """What hooks were told, and what the commands say of them."""
    wish = {"all": True, "by": "anna", "reason": f"account 26598145, {stage.keys['bot']}"}
    assert stage.told is not None
    await call(stage.directory / "state/admin.sock", "halt", wish, timeout=30)
    async for _ in eventually(10):  # what is over before the next look is told to nobody
        if "halted" in stage.told.events:
            break
    await call(stage.directory / "state/admin.sock", "resume", wish, timeout=30)
    await asyncio.gather(stage.bearerd("alerts", "test"), stage.bearerd("alerts", "list"))
    for request in stage.told.received:
        signed = {name: text for name, text in request.headers.items() if name.startswith("webhook")}
        stage.note("posts to a webhook", json.dumps(signed).encode() + request.body)
    stage.note("what a command is told", await asyncio.to_thread((stage.directory / "page.txt").read_bytes))


@asynccontextmanager
async def staged(directory: Path) -> AsyncIterator[Stage]:
    """A simulator whose tokens need percent-encoding, a configuration, a key; no server yet."""
    options = Options(reserved_characters=True, slow=0.1)
    running = await serve.start(directory=directory / "ca", options=options)
    try:
        simulator = running.simulators["questrade"]
        assert isinstance(simulator, Questrade)
        stage = Stage(directory, simulator, running.control)
        key = await asyncio.to_thread(Source("file:master.key", directory).create)
        stage.secret("master key", base64.b64encode(key).decode())
        stage.secret("master key in hex", key.hex())
        document = with_page(configuration(running.description()["environment"]))
        async with receiving() as receiver, collectors.receiving() as stage.collector:
            with_hooks(stage, document, receiver)
            with_tracing(stage, document, stage.collector)
            (directory / "config.yaml").write_text(json.dumps(document, indent=1))
            yield stage
    finally:
        await running.stop()


async def start(stage: Stage) -> None:
    """The server, logging everything, with a console token of ours."""
    file = stage.directory / "console.token"
    file.write_text(stage.secret("console token"))
    file.chmod(0o600)
    environ = {"BEARERD_CONSOLE_TOKEN_FILE": str(file)}
    arguments = ("serve", "-c", "config.yaml", "--log-level", "debug", "--log-format", "json")
    stage.server = Program(stage.directory, *arguments, environ=environ, command=COMMAND)
    await asyncio.to_thread(stage.server.until, "To do: ")
    found = stage.server.output
    stage.url = re.findall(r"serves (http://[0-9.:]+)", found)[0]
    stage.console = re.findall(r"Console: (http://[0-9.:]+)/", found)[0]


async def stop(stage: Stage) -> None:
    assert stage.server is not None
    assert 0 == await asyncio.to_thread(stage.server.stop)
    stage.note("stdout of serve", stage.server.stdout.read_bytes())
    stage.note("stderr and log of serve", stage.server.stderr.read_bytes())
    assert stage.collector is not None
    stage.note("spans", stage.collector.raw)


# -- what is driven ---------------------------------------------------------------------------------------------------


async def operate(stage: Stage) -> None:
    """Logins good and bad, keys, and every command that shows something."""
    token = stage.secret("refused refresh token")
    await stage.bearerd("login", "questrade", "--token-stdin", code=1, stdin=token)
    first = stage.secret("first refresh token", stage.simulator.new_refresh_token())
    file = stage.directory / "token"
    file.write_text(first + "\n")
    file.chmod(0o600)
    await stage.bearerd("login", "questrade", environ={"BEARERD_LOGIN_TOKEN_FILE": str(file)})
    spaced = stage.secret("token with a space") + " and more"
    await stage.bearerd("login", "questrade", "--token-stdin", code=1, stdin=spaced, surface="bearerd login, malformed")

    (key,) = re.findall(r"brd_\w+", await stage.bearerd("clients", "add", "bot"))
    stage.keys["bot"] = stage.secret("key of bot", key)
    added = json.loads((await stage.bearerd("clients", "add", "other", "--json")).splitlines()[0])
    stage.keys["other"] = stage.secret("key of other", added["key"])
    shown = (
        ("clients", "list"), ("clients", "list", "--json"), ("status",), ("status", "--json"),
        ("scopes", "list", "questrade"), ("scopes", "check", "GET", ACCOUNTS), ("config", "show", "--origin"),
        ("config", "show", "--json"), ("reload",), ("healthcheck",), ("wait", "--ready"),
    )  # fmt: skip
    await asyncio.gather(*(stage.bearerd(*arguments) for arguments in shown))
    await stage.bearerd("env", "questrade", "--key-stdin", code=1, stdin=token, surface="bearerd env, not a key")
    await stage.bearerd("clients", "remove", "other", "--yes")


async def call_well_and_badly(stage: Stage) -> None:
    """Answers of the broker, and every way of being refused, with a secret in each place that could be quoted."""
    key, token = stage.keys["bot"], stage.secrets["first refresh token"].replace("+", "%2B")
    assert 200 == await stage.ask("answers of the broker", ACCOUNTS)
    assert 200 == await stage.ask("answers of the broker", ORDERS, "POST", ORDER)
    assert 200 == await stage.ask("answers of the broker", f"{ACCOUNTS}?refresh_token={token}&key={key}")
    assert 400 == await stage.ask("answers of the broker", ORDERS, "POST", {"token": key})
    for target in (f"/{key}/v1/accounts", f"/questrade/v1/{key}", f"{ACCOUNTS}/%7f{key}", f"{ACCOUNTS}?_method={key}"):
        assert 400 <= await stage.ask("refusals", target) < 500
    traced = {"Traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01", "Tracestate": f"vendor={key}"}
    assert 200 == await stage.ask("answers of the broker", ACCOUNTS, **traced)
    for headers in (
        {"X_Api_Key": token}, {"Origin": f"http://{key}"}, {"Expect": key}, {"Upgrade": key},
        {"Transfer_Encoding": f"gzip, {key}"}, {"Sec_Fetch_Site": key, "Cookie": f"key={key}"},
    ):  # fmt: skip
        await stage.ask("refusals", ACCOUNTS, "GET", None, **headers)
    basic = base64.b64encode(f"user:{token}".encode()).decode()
    for authorization in (f"Bearer {token}", f"Bearer {key[:-1]}", f"Basic {basic}", f"Basic {token}", key):
        reply = await ask(stage.url, "GET", ACCOUNTS, Authorization=authorization)
        assert 401 == reply.status
        stage.note("refusals", reply.raw)
    for query in (f"grant_type=refresh_token&refresh_token={token}", f"refresh_token={key[:-2]}"):
        reply = await ask(stage.url, "GET", f"/questrade/oauth2/token?{query}")
        assert 401 == reply.status
        stage.note("the emulated token endpoint", reply.raw)


async def break_http(stage: Stage) -> None:
    """What aiohttp itself would quote: unreadable heads and bodies, to both listeners."""
    key = stage.keys["bot"].encode()
    token = stage.secrets["first refresh token"].encode()
    for url in (stage.url, stage.console):
        host = b"Host: " + url.removeprefix("http://").encode() + b"\r\n"
        auth = b"Authorization: Bearer " + key + b"\r\n"
        good = b"GET /questrade/v1/accounts HTTP/1.1\r\n" + host
        post = b"POST /questrade/v1/markets/quotes/options HTTP/1.1\r\n" + host + auth
        for data in (
            good + b"Authorization: Bearer " + key + b"\0\r\n\r\n",
            good + b"X-Long: " + key * 400 + b"\r\n\r\n",
            good + auth + b"".join(b"X-%d: %s\r\n" % (number, token) for number in range(200)) + b"\r\n",
            b"GET /questrade/v1/accounts?token=" + token * 400 + b" HTTP/1.1\r\n" + host + auth + b"\r\n",
            b"GET /" + key + b" " + token + b" HTTP/1.1\r\n" + host + b"\r\n",
            b"GET /\xff" + token + b" HTTP/1.1\r\n" + host + b"\r\n",
            token + b" / HTTP/1.1\r\n" + host + b"\r\n",
            key + b" / HTTP/1.1\r\n" + host + b"\r\n",
            b"GET http://" + key + b"/ HTTP/1.1\r\n" + host + b"\r\n",
            b"GET / HTTP/9" + key + b"\r\n" + host + b"\r\n",
            b"GET / HTTP/1.0\r\nHost: " + token + b"\r\n\r\n",
            good + b"Host: " + key + b"\r\n\r\n",
            good + auth + b"X_" + key + b": " + token + b"\r\n\r\n",
            good + auth + b"Accept: \xff" + key + b"\r\n\r\n",
            good + b" " + key + b"\r\n\r\n",
            good + b"Content-Length: " + key + b"\r\n\r\n",
            post + b"Transfer-Encoding: chunked\r\n\r\n" + key + b"\r\n",
            post + b"Transfer-Encoding: chunked\r\n\r\n5\r\n" + key + b"\r\n0\r\n\r\n",
            post + b"Transfer-Encoding: " + token + b"\r\n\r\n",
        ):
            await stage.raw("unreadable requests", url, data)


async def break_the_broker(stage: Stage) -> None:
    """Every fault of token endpoint and API, met by a redeem, by a login, by a read and by an order."""
    for fault in sorted(stage.simulator.faults.catalogue().keys() - SLOW_FAULTS):
        await asyncio.to_thread(command, stage.control, "/faults", fault=fault, times=2)
        if fault.startswith(("token", "user-agent", "maintenance")):
            await stage.login(f"under {fault}", fails=True)
            await asyncio.to_thread(command, stage.control, "/expire")
        await stage.ask("answers under faults", ACCOUNTS)
        await stage.ask("answers under faults", ORDERS, "POST", ORDER)
        await asyncio.to_thread(command, stage.control, "/faults", fault="none")
        await stage.login(f"after {fault}")
    await asyncio.to_thread(command, stage.control, "/steal")
    await asyncio.to_thread(command, stage.control, "/expire")
    await stage.ask("answers under faults", ACCOUNTS)
    await stage.bearerd("status", code=4, surface="bearerd status, login needed")
    await stage.login("after the theft")


async def look_at_the_console(stage: Stage) -> None:
    """The page with and without its token, health and metrics."""
    token = stage.secrets["console token"]
    entered = await ask(stage.console, "GET", f"/?token={token}")
    cookie = entered.headers["set-cookie"].partition(";")[0]
    stage.secret("console cookie", cookie.partition("=")[2])
    page = await ask(stage.console, "GET", entered.headers["location"], Cookie=cookie)
    assert 200 == page.status
    stage.note("the console's page", page.raw)
    await act_at_the_console(stage, entered.headers["location"], cookie, page.body.decode())
    wrong = stage.secret("wrong console token")
    for target in ("/", f"/?token={wrong}", f"/{token}", entered.headers["location"], f"/readyz?verbose={token}"):
        stage.note("the console's refusals", (await ask(stage.console, "GET", target, Cookie=f"a={wrong}")).raw)
    for target in ("/metrics", "/readyz?verbose", "/livez"):
        reply = await ask(stage.console, "GET", target)
        assert 200 == reply.status
        stage.note(target, reply.raw)


async def act_at_the_console(stage: Stage, home: str, cookie: str, page: str) -> None:
    """Forms that are refused and one that is not, with a secret in each; a new key; and a moment of live updates."""
    (csrf,) = re.findall(r'name="csrf" value="([^"]+)"', page)
    head = {"Cookie": cookie}
    pasted, token = stage.secret("pasted token"), stage.secrets["first refresh token"]

    async def post(act: str, **form: str) -> Reply:
        body, wire = urlencode({"csrf": csrf, **form}), Wire(stage.console)
        kind = "Content-Type: application/x-www-form-urlencoded"
        lines = [f"POST {home}do/{act} HTTP/1.1", f"Host: {wire.host}:{wire.port}", f"Cookie: {cookie}", kind]
        await wire.send("\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode())
        reply = await wire.reply()
        await wire.close()
        assert reply is not None
        return reply

    for form in ({"token": pasted}, {"token": f"{pasted} {token}"}, {"token": pasted, "more": token}):
        stage.note("the console's forms", (await post("log-in", grant="questrade", **form)).raw)
    stage.note("the console's forms", (await post("halt", csrf=pasted, reason=token)).raw)
    filled = await ask(stage.console, "GET", f"{home}log-in?grant=questrade&token={token}", **head)
    stage.note("the console's forms", filled.raw)
    made = await post("client-add", name="other")
    stage.note("the console's forms", made.raw)
    shown = await ask(stage.console, "GET", made.headers["location"], **head)
    (key,) = re.findall(r'<code id="key">(\w+)</code>', shown.body.decode())
    stage.secret("key of the console", key)
    stage.note("a new key at the console", shown.raw)
    for place in (made.headers["location"], home, f"{home}client?name=other"):
        stage.note("the console after it", (await ask(stage.console, "GET", place, **head)).raw)
    host, _, port = stage.console.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 22)
    writer.write(f"GET {home}events HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {cookie}\r\n\r\n".encode())
    async with asyncio.timeout(10):
        stage.note("live updates", await reader.readuntil(b"}\n\n"))
    writer.close()


async def look_at_the_trail(stage: Stage) -> None:
    """The files of the audit trail, and what the commands print of them."""
    shown = (
        ("tail", "-n", "1000"),
        ("search", "--json"),
        ("export",),
        ("export", "--format", "csv"),
        ("verify", "--json"),
    )
    await asyncio.gather(*(stage.bearerd("audit", *arguments) for arguments in shown))
    stage.note("audit trail", await asyncio.to_thread(canaries.files, stage.directory / "state/audit"))


BROKEN = """\
version: 1
key: {0}
store: postgresql://user:{0}@db.internal/bearerd
egress_proxy: http://user:{0}@proxy.internal:3128
refresh_token: {0}
mounts:
  questrade: {{broker: questrade, environment: simulator, scopes: [read_acc], token: {0}}}
clients: {{bot: {{questrade: [read_acc], api_key: {0}}}}}
grants:
  questrade: {{client_id: a, client_secret: [{0}]}}
  other: {{client_id: a, client_secret: {0}, client_secret_file: b}}
alerts:
  ops: {{url: "https://hooks.example.com/{0}", secret: {0}, evnts: []}}
  page: {{url: "http://user:{0}@hooks.example.com/{0}", secret: whsec_{0}}}
"""
UNREADABLE = (
    'client_secret: "{0}\n',
    "passphrase: {0}: {0}\n",
    "grants: {{questrade: {{client_secret: {0}\n",
    "\tclient_secret: {0}\n",
)


async def look_at_the_process(stage: Stage) -> None:
    """What the system tells of it, to whoever may ask."""
    assert stage.server is not None
    for name in ("cmdline", "environ", "comm", "status", "limits", "maps"):
        file = Path(f"/proc/{stage.server.pid}/{name}")
        stage.note("/proc of serve", await asyncio.to_thread(file.read_bytes))


async def break_the_configuration(stage: Stage) -> None:
    """Files full of mistakes and secrets: checked, shown, reloaded, and by SIGHUP."""
    assert stage.server is not None
    file, secret = stage.directory / "config.yaml", stage.secret("secret of a broken file")
    good = file.read_text()
    file.write_text(BROKEN.format(secret))
    broken = (("check",), ("check", "--json"), ("show",))
    await asyncio.gather(*(stage.bearerd("config", *arguments, code=3) for arguments in broken))
    for text in UNREADABLE:
        file.write_text(text.format(secret))
        await stage.bearerd("config", "check", code=3)
    file.write_text(good.replace('"listen"', f'"refresh_token": "{secret}", "listen"'))
    await stage.bearerd("reload", code=3, surface="bearerd reload, broken")
    stage.server.send_signal(signal.SIGHUP)
    await asyncio.to_thread(stage.server.until, "the configuration was not loaded")
    document = json.loads(good)
    kept = stage.secret("client secret")
    document["grants"]["questrade"] = {"client_id": "app", "client_secret": kept}
    file.write_text(json.dumps(document))
    stage.server.send_signal(signal.SIGHUP)
    await asyncio.to_thread(stage.server.until, "configuration reloaded")
    shown = (("show",), ("show", "--json"))
    surface = "bearerd config show, with a client secret"
    await asyncio.gather(*(stage.bearerd("config", *arguments, surface=surface) for arguments in shown))
    bad = {"BEARERD_EGRESS_PROXY": f"http://user:{secret}@", "BEARERD_LOG__LEVEL": secret, "BEARERD_TOKEN": secret}
    await stage.bearerd("config", "check", code=3, environ=bad, surface="bearerd config check, bad variables")
    file.write_text(good)


async def fail_to_start(stage: Stage) -> None:
    """A second server, and after the first has gone: a wrong key, no key, and what stands where a key should."""
    await stage.bearerd("serve", code=5, surface="bearerd serve, locked")
    await stop(stage)
    key = stage.directory / "master.key"
    right = key.read_bytes()
    other = stage.secret("another master key", base64.b64encode(secrets.token_bytes(32)).decode())
    for text in (other, stage.secret("no master key")):
        key.write_text(text)
        for arguments in (("serve", "-v"), ("rekey",)):
            await stage.bearerd(*arguments, code=5, surface="commands with a wrong key")
    key.write_bytes(right)
    file = stage.directory / "console.token"
    file.write_text(stage.secret("malformed console token") + " !")
    environ = {"BEARERD_CONSOLE_TOKEN_FILE": str(file)}
    await stage.bearerd("serve", code=1, environ=environ, surface="bearerd serve, bad console token")
    await stage.bearerd("rekey")
    stage.secret("next master key", key.read_text().strip())
    await stage.bearerd("clients", "list", surface="bearerd clients list, no server")
    await stage.bearerd("revoke", "questrade", "--yes", surface="bearerd revoke")
    await stage.bearerd("audit", "verify")  # two master keys, one chain


async def watch_processes(stage: Stage) -> None:
    """Note the command lines of everything that the test has started, again and again."""
    while True:
        stage.note("process list", await asyncio.to_thread(canaries.command_lines, os.getpid()))
        await asyncio.sleep(0.05)


async def drive(stage: Stage) -> None:
    """All of it, in an order in which each part finds a grant that works."""
    watching = asyncio.get_running_loop().create_task(watch_processes(stage))
    try:
        await start(stage)
        await log_in_over_the_page(stage)
        await operate(stage)
        await call_well_and_badly(stage)
        await break_http(stage)
        await look_at_the_console(stage)
        await look_at_the_process(stage)
        await break_the_configuration(stage)
        await break_the_broker(stage)
        await look_at_the_trail(stage)
        await look_at_the_alerts(stage)
        await look_at_the_doctor(stage)
        stage.note("state files while it runs", await asyncio.to_thread(canaries.files, stage.directory / "state"))
        await fail_to_start(stage)
        stage.note("state files in the end", await asyncio.to_thread(canaries.files, stage.directory / "state"))
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        if stage.server is not None and stage.server.code is None:
            await asyncio.to_thread(stage.server.stop)
    stage.learn_tokens()
