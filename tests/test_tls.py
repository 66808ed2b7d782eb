"""bearerd's own TLS, whole: curl, an unmodified SDK, renewals under load, clients' certificates, the console."""

import asyncio
import json
import re
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proxy import localca
from proxy.clock import SystemClock
from proxy.config import ConfigInvalid
from proxy.operations import NotPossible
from tests.authority import DAY, HERE, Authority, Pair
from tests.callers import eventually
from tests.house import ACCOUNT, House, house, port_of
from tests.wire import Reply, Wire

CALL = "/questrade/v1/accounts"
TLS = "tls: {certificate_file: tls/server.crt, key_file: tls/server.key"
NOW = SystemClock().now().wall


@dataclass
class Tls:
    """A house whose listener speaks TLS, and the authorities of its certificate and of its clients'."""

    house: House
    ours: Authority
    theirs: Authority
    directory: Path
    contexts: dict[str, ssl.SSLContext] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return self.house.port

    def context(self, pair: Pair | None = None) -> ssl.SSLContext:
        return self.ours.trusting(pair)

    async def connect(self, context: ssl.SSLContext, *, host: str = "127.0.0.1") -> Wire:
        return Wire(*await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=host))

    async def call(self, wire: Wire, *, key: str | None = None, host: str = "127.0.0.1", target: str = CALL) -> Reply:
        bearer = f"Authorization: Bearer {self.house.key if key is None else key}"
        await wire.send(f"GET {target} HTTP/1.1\r\nHost: {host}:{self.port}\r\n{bearer}\r\n\r\n".encode())
        reply: Reply = await wire.reply()
        return reply

    async def once(self, context: ssl.SSLContext, **call: Any) -> Reply:
        wire = await self.connect(context, host=call.get("host", "127.0.0.1"))
        try:
            return await self.call(wire, **call)
        finally:
            wire.close()


@asynccontextmanager
async def secured(directory: Path, more: str = "", *changes: tuple[str, str]) -> AsyncIterator[Tls]:
    """`more` are further keys of `tls`."""
    ours, theirs = (Authority(directory / "tls", name, now=NOW) for name in ("ours", "theirs"))
    ours.issue("server", *HERE, "bearerd.internal")
    async with house(directory, ("clients:\n", f"{TLS}{more}}}\nclients:\n"), *changes) as home:
        yield Tls(home, ours, theirs, directory)


@pytest.fixture(name="tls")
async def _tls(tmp_path: Path) -> AsyncIterator[Tls]:
    async with secured(tmp_path) as found:
        yield found


def run(command: list[str], **environ: str) -> str:
    """What a program prints."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, env={"PATH": "/usr/bin:/bin", **environ}
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


async def test_curl_calls_over_tls(tls: Tls) -> None:
    """By address and by any name of the certificate; a name that is not ours stays refused."""
    curl = ["curl", "--disable", "-sS", "--max-time", "20", "-H", f"Authorization: Bearer {tls.house.key}"]
    curl += ["--cacert", str(tls.ours.file)]
    assert f"https://127.0.0.1:{tls.port}" == tls.house.app.doors.url
    for host in ("127.0.0.1", "bearerd.internal"):
        there = ["--resolve", f"{host}:{tls.port}:127.0.0.1", f"https://{host}:{tls.port}{CALL}"]
        assert "26598145" in await asyncio.to_thread(run, [*curl, *there])
    wrong = await tls.once(tls.context(), host="127.0.0.1", target=CALL)
    assert 200 == wrong.status
    wire = await tls.connect(tls.context())
    await wire.send(f"GET {CALL} HTTP/1.1\r\nHost: evil.test:{tls.port}\r\n\r\n".encode())
    assert (421, "wrong-host") == (await wire.reply()).problem
    wire.close()


SDK = """
import json, sys, qtrade
client = qtrade.Questrade(token_yaml=sys.argv[1])
print(json.dumps(client.get_account_id()))
client.refresh_access_token  # exists
qtrade.questrade.TOKEN_URL = sys.argv[2]
print(json.dumps(qtrade.Questrade(access_code=sys.argv[3]).get_account_id()))
"""


async def test_an_unmodified_sdk_calls_over_tls(tls: Tls, tmp_path: Path) -> None:
    """qtrade with a token file, and with our token endpoint, whose answer leads back to https."""
    url, key = f"https://127.0.0.1:{tls.port}/questrade", tls.house.key
    token = {"access_token": key, "refresh_token": key, "api_server": url, "token_type": "Bearer", "expires_in": 1800}
    await asyncio.to_thread((tmp_path / "access_token.yml").write_text, json.dumps(token))
    endpoint = f"{url}/oauth2/token?grant_type=refresh_token&refresh_token="
    command = [sys.executable, "-c", SDK, str(tmp_path / "access_token.yml"), endpoint, key]
    environ = {"REQUESTS_CA_BUNDLE": str(tls.ours.file), "HOME": str(tmp_path)}

    def in_its_home() -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=False, env=environ, cwd=tmp_path
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout

    printed = await asyncio.to_thread(in_its_home)
    assert 2 == printed.count("26598145")


async def test_a_renewal_drops_nobody(tls: Tls) -> None:
    """Fifty clients call on and on while the files change; new connections get the new certificate."""
    context = tls.context()
    seen: set[str] = set()
    renewed = asyncio.Event()

    async def caller() -> int:
        wire = await tls.connect(context)
        calls = 0
        while not renewed.is_set() or calls < 3:
            assert 200 == (await tls.call(wire)).status
            calls += 1
            await asyncio.sleep(0.3)
        wire.close()
        return calls

    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(caller()) for _ in range(50)]
        await asyncio.sleep(0.3)
        tls.ours.issue("server", *HERE, "new.internal")
        async for _ in eventually(8, 0.2):
            wire = await tls.connect(context)
            seen = {str(name) for kind, name in wire.writer.get_extra_info("peercert")["subjectAltName"]}
            wire.close()
            if "new.internal" in seen:
                break
        renewed.set()
    assert "new.internal" in seen
    assert all(task.result() >= 3 for task in callers)
    # Its new name leads here at once, its old one no longer.
    assert 200 == (await tls.once(tls.context(), host="new.internal")).status
    with pytest.raises(ssl.SSLCertVerificationError):
        await tls.once(tls.context(), host="bearerd.internal")


async def test_a_reload_with_files_that_are_no_good_keeps_the_old_ones(tls: Tls) -> None:
    """All or nothing, with the file and what helps; what is right is in force at once."""
    before = (await tls.once(tls.context())).status
    tls.ours.issue("other", *HERE)
    await tls.house.rewrite(("tls/server.key", "tls/other.key"))
    with pytest.raises(ConfigInvalid, match="is not the key of the certificate"):
        await tls.house.app.reload()
    assert (200, 200) == (before, (await tls.once(tls.context())).status)
    assert "the last reload was refused" in str(tls.house.app.operations.status()["warnings"])

    await tls.house.rewrite(("tls/server.crt", "tls/other.crt"))
    await tls.house.app.reload()
    wire = await tls.connect(tls.context())
    assert "other" in str(wire.writer.get_extra_info("peercert")["subject"])
    wire.close()
    tls.ours.issue("other", *HERE, begins=NOW - 9 * DAY, lives=8 * DAY)
    with pytest.raises(ConfigInvalid, match="expired at"):
        await tls.house.app.reload()
    await tls.house.rewrite((TLS.replace("server", "other") + "}", ""))
    with pytest.raises(NotPossible, match=r"tls \(on or off\) can't change"):
        await tls.house.app.reload()


async def test_status_and_metrics_tell_when_the_certificate_ends(tls: Tls) -> None:
    """Before it does, so that somebody can do something."""
    assert "tls_certificate_expires" in tls.house.app.rendered_metrics().decode()
    assert not any("certificate" in line for line in tls.house.app.operations.status()["warnings"])
    tls.ours.issue("server", *HERE, lives=DAY, begins=NOW - 0.9 * DAY)
    told: list[str] = []
    async for _ in eventually(8, 0.2):
        if told := [line for line in tls.house.app.operations.status()["warnings"] if "certificate" in line]:
            break
    assert re.search(r"the certificate .*server\.crt expires in 2h\d\dm: replace the file in time", told[0])


async def test_a_certificate_is_needed_beside_the_key_and_names_its_client(tmp_path: Path) -> None:
    """Nothing is served without one; with one that names somebody else, a key that leaked is worth nothing."""
    changes = ("  bot: ", "  other: {questrade: [read_acc]}\n  bot: ")
    async with secured(tmp_path, ", client_ca_file: tls/theirs.pem, client_certificate: named", changes) as tls:
        bot = tls.theirs.issue("bot", client=True)
        alias = tls.theirs.issue("somebody", "BOT", client=True)
        other = tls.theirs.issue("other", client=True)
        assert 200 == (await tls.once(await asyncio.to_thread(tls.context, bot))).status
        assert 200 == (await tls.once(await asyncio.to_thread(tls.context, alias))).status

        context = await asyncio.to_thread(tls.context, other)
        refused = await tls.once(context)
        assert (401, "unknown-client") == refused.problem
        assert "the connection's certificate does not hold that name" in refused.document["detail"]
        token = f"/questrade/oauth2/token?grant_type=refresh_token&refresh_token={tls.house.key}"
        assert (401, "unknown-client") == (await tls.once(context, target=token)).problem
        theirs = (await tls.house.app.operations.clients_add("other"))["key"]
        assert 200 == (await tls.once(context, key=theirs)).status
        assert (401, "unknown-client") == (await tls.once(context, key="")).problem

        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await tls.once(tls.context())
        metrics = ""
        async for _ in eventually(5):
            metrics = tls.house.app.rendered_metrics().decode()
            if 'bearerd_tls_handshakes_failed_total{reason="no-certificate"} 1.0' in metrics:
                break
        else:
            raise AssertionError(metrics)
    assert 0 == tls.house.seen("orders")


async def test_any_certificate_of_the_authority_will_do_where_none_is_named(tmp_path: Path) -> None:
    """It is asked for in addition to the key, never in its place."""
    async with secured(tmp_path, ", client_ca_file: tls/theirs.pem") as tls:
        context = await asyncio.to_thread(tls.context, tls.theirs.issue("anybody", client=True))
        assert 200 == (await tls.once(context)).status
        assert (401, "unknown-client") == (await tls.once(context, key="")).problem


async def test_a_console_beyond_this_machine_speaks_tls(tmp_path: Path) -> None:
    """Its cookie goes over TLS only, its own pages may call it, and a client's certificate is not asked for."""
    more = ", client_ca_file: tls/theirs.pem"
    async with secured(tmp_path, more, ('console: "off"', "console: 0.0.0.0:0")) as tls:
        url = tls.house.app.console_url or ""
        found = re.fullmatch(r"https://127\.0\.0\.1:(\d+)/\?token=(.+)", url)
        assert found, url
        host = f"127.0.0.1:{found[1]}"

        async def get(path: str, *headers: str) -> Reply:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(found[1]), ssl=tls.context())
            lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
            writer.write("\r\n".join(lines).encode())
            reply = await Wire(reader, writer).reply()
            writer.close()
            return reply

        assert (200, b"ok\n") == ((live := await get("/livez")).status, live.body)
        entered = await get(f"/?token={found[2]}")
        cookie = entered.one("Set-Cookie") or ""
        assert (303, True, True) == (entered.status, "Secure" in cookie, "HttpOnly" in cookie)
        home = entered.one("Location") or ""
        page = await get(home, f"Cookie: {cookie.partition(';')[0]}", f"Origin: https://{host}")
        assert (200, True) == (page.status, b"questrade" in page.body)
        assert 403 == (await get(home, f"Cookie: {cookie.partition(';')[0]}", f"Origin: http://{host}")).status

        reader, writer = await asyncio.open_connection("127.0.0.1", int(found[1]))
        writer.write(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"HTTP" not in await asyncio.wait_for(reader.read(), 5)
        writer.close()


async def test_a_console_on_this_machine_stays_plain(tmp_path: Path) -> None:
    """Health checks and metrics there trust no certificate of ours."""
    async with secured(tmp_path, "", ('console: "off"', "console: 127.0.0.1:0")) as tls:
        assert (tls.house.app.console_url or "").startswith("http://127.0.0.1:")


async def test_a_mounts_own_port_speaks_tls_too(tmp_path: Path) -> None:
    """Whoever drops the path prefix is no reason to send keys in the clear."""
    async with secured(
        tmp_path, "", ("scopes: [read_acc, read_md, trade]}", "scopes: [read_acc, read_md, trade], port: 0}")
    ) as tls:
        (root,) = [listener for listener, mount in tls.house.app.doors.all() if mount]
        assert (
            f"https://127.0.0.1:{port_of(root)}"
            == root.url
            == tls.house.app.operations.status()["mounts"][0]["root_url"]
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(root), ssl=tls.context())
        head = [
            "GET /v1/accounts HTTP/1.1",
            f"Host: 127.0.0.1:{port_of(root)}",
            f"Authorization: Bearer {tls.house.key}",
        ]
        writer.write("\r\n".join([*head, "", ""]).encode())
        assert 200 == (await Wire(reader, writer).reply()).status
        writer.close()


async def test_an_order_over_tls_arrives_once(tls: Tls) -> None:
    """Bodies cross in both directions as over plain connections."""
    body = json.dumps(
        {"symbolId": 8049, "quantity": 10, "action": "Buy", "orderType": "Limit", "limitPrice": 1, "timeInForce": "Day"}
    )
    wire = await tls.connect(tls.context())
    lines = [f"POST {ACCOUNT}/orders HTTP/1.1", f"Host: 127.0.0.1:{tls.port}", f"Authorization: Bearer {tls.house.key}"]
    await wire.send("\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode())
    assert 200 == (await wire.reply(method="POST")).status
    wire.close()
    assert 1 == tls.house.seen("orders")


async def test_a_start_with_files_that_are_no_good_is_refused(tmp_path: Path) -> None:
    """Nothing is open then; the message has the line of the configuration."""
    tls = tmp_path / "tls"
    ours = Authority(tls, "ours", now=NOW)
    (await asyncio.to_thread(lambda: ours.issue("server", *HERE).key)).chmod(0o644)
    with pytest.raises(ConfigInvalid, match=r"config\.yaml:\d+:\d+: error: tls\.key_file: .*chmod 600"):
        async with house(tmp_path, ("clients:\n", f"{TLS}}}\nclients:\n")):
            pass


async def test_a_unix_socket_for_a_group(tmp_path: Path) -> None:
    """Its mode and group are as configured, and our own user may call; a user that there is not is a mistake."""
    place = tmp_path / "door"
    await asyncio.to_thread(place.mkdir, 0o755)
    changes = (
        ("listen: 127.0.0.1:0", f"listen: unix:{place}/b.sock"),
        ("clients:\n", 'unix_socket: {mode: "0660", groups: [0, 4321]}\nclients:\n'),
    )
    async with house(tmp_path, *changes) as home:
        status = await asyncio.to_thread((place / "b.sock").stat)
        assert (0o660, 0) == (status.st_mode & 0o777, status.st_gid)
        reader, writer = await asyncio.open_unix_connection(place / "b.sock")
        head = f"GET {CALL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {home.key}\r\n\r\n"
        writer.write(head.encode())
        assert 200 == (await Wire(reader, writer).reply()).status
        writer.close()
        await home.rewrite(("groups: [0, 4321]", "groups: [no-such-group]"))
        with pytest.raises(NotPossible, match="unix_socket can't change"):
            await home.app.reload()
    with pytest.raises(ConfigInvalid, match="there is no group 'no-such-group'"):
        async with house(tmp_path):
            pass


async def test_a_socket_where_others_may_write_is_refused(tmp_path: Path) -> None:
    """Somebody else could put another socket in its place, and be sent our clients' keys."""
    place = tmp_path / "door"
    await asyncio.to_thread(place.mkdir)
    await asyncio.to_thread(place.chmod, 0o777)
    with pytest.raises(OSError, match=r"b\.sock: .*door may be written by other users .*chmod go-w"):
        async with house(tmp_path, ("listen: 127.0.0.1:0", f"listen: unix:{place}/b.sock")):
            pass
    assert not await asyncio.to_thread((place / "b.sock").exists)


BOTH = ("listen: 127.0.0.1:0", 'listen: [127.0.0.1:0, "tls:127.0.0.1:0"]')
ROOT = ("scopes: [read_acc, read_md, trade]}", "scopes: [read_acc, read_md, trade], port: 0}")


async def asked(port: int, context: ssl.SSLContext | None, key: str, target: str = "/v1/accounts") -> Reply:
    """One call over TLS, or without."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
        reply: Reply = await Wire(reader, writer).reply()
        return reply
    finally:
        writer.close()


async def test_only_addresses_with_tls_in_front_speak_it(tmp_path: Path) -> None:
    """If any has it; a mount's own port takes both then, and answers with the address that was called."""
    async with secured(tmp_path, "", BOTH, ROOT) as tls:
        key, context = tls.house.key, tls.context()
        plain, secure, root = map(port_of, tls.house.app.doors.listeners)
        assert [200, 200] == [
            (await asked(plain, None, key, CALL)).status, (await asked(secure, context, key, CALL)).status,
        ]  # fmt: skip
        assert [200, 200] == [(await asked(root, None, key)).status, (await asked(root, context, key)).status]
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError, AssertionError)):
            await asked(secure, None, key, CALL)
        with pytest.raises(ssl.SSLError):
            await asked(plain, context, key, CALL)

        status = tls.house.app.operations.status()
        assert (f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{secure}") == (status["url"], status["secure_url"])
        assert f"http://127.0.0.1:{root}" == status["mounts"][0]["root_url"]
        token = f"/oauth2/token?grant_type=refresh_token&refresh_token={key}"
        for end, scheme in ((None, "http"), (context, "https")):
            assert f"{scheme}://127.0.0.1:{root}/" == (await asked(root, end, key, token)).document["api_server"]


async def test_where_only_tls_is_listened_to_a_port_of_its_own_takes_nothing_else(tmp_path: Path) -> None:
    """And a reload that asks for certificates asks for them there, too."""
    async with secured(tmp_path, "", ("listen: 127.0.0.1:0", "listen: tls:127.0.0.1:0"), ROOT) as tls:
        _, root = map(port_of, tls.house.app.doors.listeners)
        assert 200 == (await asked(root, tls.context(), tls.house.key)).status
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError, AssertionError)):
            await asked(root, None, tls.house.key)
        await tls.house.rewrite(("tls/server.key}", "tls/server.key, client_ca_file: tls/theirs.pem}"))
        await tls.house.app.reload()
        with pytest.raises((asyncio.IncompleteReadError, OSError)):
            await asked(root, tls.context(), tls.house.key)


async def test_the_local_authority_serves_who_trusts_it(tmp_path: Path) -> None:
    """Another one takes its place without a dropped connection: open ones go on, new ones need the new root."""
    file = tmp_path / "tls" / localca.FILE
    first = await asyncio.to_thread(localca.make, file, (), NOW)
    async with house(tmp_path, BOTH, ("clients:\n", "tls: {local_ca: true}\nclients:\n")) as home:
        port = port_of(home.app.doors.listeners[1])
        other = ssl.create_default_context()
        old = ssl.create_default_context(cadata=first.pem.decode())
        wire = Wire(*await asyncio.open_connection("127.0.0.1", port, ssl=old, server_hostname="localhost"))
        head = f"GET {CALL} HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer {home.key}\r\n\r\n".encode()
        await wire.send(head)
        assert 200 == (await wire.reply()).status
        with pytest.raises(ssl.SSLCertVerificationError):
            await asked(port, other, home.key, CALL)

        second = await asyncio.to_thread(localca.make, file, ["bearerd.internal"], NOW, replace=True)
        new, reply = ssl.create_default_context(cadata=second.pem.decode()), None
        async for _ in eventually(8, 0.1):
            try:
                reply = await asked(port, new, home.key, CALL)
            except ssl.SSLCertVerificationError:
                continue
            break
        assert reply is not None
        assert 200 == reply.status
        with pytest.raises(ssl.SSLCertVerificationError):
            await asked(port, old, home.key, CALL)
        await wire.send(head)
        assert 200 == (await wire.reply()).status
        wire.close()
        assert second.pem in await asyncio.to_thread((tmp_path / "tls/bundle.pem").read_bytes)


async def test_without_its_authority_a_server_does_not_start(tmp_path: Path) -> None:
    """The line of the configuration, and the command that makes one."""
    with pytest.raises(ConfigInvalid, match=r"tls\.local_ca: there is no local authority yet, run: bearerd tls init"):
        async with house(tmp_path, ("clients:\n", "tls: {local_ca: true}\nclients:\n")):
            pass
