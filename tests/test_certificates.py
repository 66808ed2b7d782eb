"""Our own certificates: what is refused, in which words, and when a new one is in force."""

import asyncio
import shutil
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from proxy.certificates import Certificates, InForce, Unfit, hosts_of, load, place
from proxy.clock import Now, SystemClock
from proxy.config import ConfigInvalid, Tcp, Tls
from proxy.settings import read
from tests.authority import DAY, HERE, Authority, Pair

NOW = SystemClock().now().wall  # certificates are judged by OpenSSL's own clock, too


@dataclass
class SetClock:
    """A clock that is moved by hand."""

    wall: float = NOW

    def now(self) -> Now:
        return Now(self.wall, self.wall)


@pytest.fixture(name="authority")
def _authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls", "ours", now=NOW)


def told(pair: Pair, client_ca: Path | None = None, **more: Any) -> Tls:
    return Tls.model_construct(
        certificate_file=pair.certificate, key_file=pair.key, client_ca_file=client_ca, client_certificate="any", **more
    )


def loaded(pair: Pair, client_ca: Path | None = None, *, expired: bool = False) -> InForce:
    return load(told(pair, client_ca), NOW, expired=expired)


def test_a_certificate_and_its_key_are_put_in_force(authority: Authority) -> None:
    """TLS 1.2 at least, ciphers with forward secrecy only, and no question for clients' certificates."""
    pair = authority.issue("server", *HERE, "*.bearerd.internal", "Bearerd.Internal")

    found = loaded(pair)

    assert ssl.TLSVersion.TLSv1_2 == found.context.minimum_version
    assert ssl.CERT_NONE == found.context.verify_mode
    names = {cipher["name"] for cipher in found.context.get_ciphers()}
    assert all(name.startswith(("ECDHE-", "TLS_")) and "CBC" not in name and "SHA1" not in name for name in names)
    assert ("localhost", "bearerd.internal", "127.0.0.1", "::1") == found.hosts
    assert (90 * DAY, None) == (found.ends - found.begins, found.authority_ends)


def test_clients_are_asked_for_a_certificate_each_time(authority: Authority, tmp_path: Path) -> None:
    """With an authority of theirs, and no session that would let them in without being asked again."""
    other = Authority(tmp_path / "theirs", "theirs", now=NOW)

    found = loaded(authority.issue("server", *HERE), other.file)

    assert (ssl.CERT_REQUIRED, 0) == (found.context.verify_mode, found.context.num_tickets)
    assert found.context.options & ssl.OP_NO_TICKET
    # Of TLS 1.2 the library would resume sessions by their number, whatever is said of tickets.
    assert ssl.TLSVersion.TLSv1_3 == found.context.minimum_version
    assert (ssl.CERT_NONE, True) == (found.for_pages.verify_mode, found.for_pages is not found.context)
    assert found.authority_ends == other.certificate.not_valid_after_utc.timestamp()


def _another_key(authority: Authority, pair: Pair) -> None:
    other = authority.issue("other", *HERE)
    shutil.copy(other.key, pair.key)


def _folder(_authority: Authority, pair: Pair) -> None:
    pair.certificate.unlink()
    pair.certificate.mkdir()


def _append_key(_authority: Authority, pair: Pair) -> None:
    pair.certificate.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())


Spoil = Callable[[Authority, Pair], object]
SPOILT: dict[str, tuple[Spoil, str, str]] = {
    "no certificate": (lambda _, pair: pair.certificate.unlink(), "certificate_file", "cannot be read: No such file"),
    "a folder": (_folder, "certificate_file", "Is a dir"),
    "no PEM": (lambda _, pair: pair.certificate.write_text("c4n4ry"), "certificate_file", "-----BEGIN CERTIFICATE"),
    "a key inside": (_append_key, "certificate_file", "move the key to a file of its own"),
    "no key": (lambda _, pair: pair.key.unlink(), "key_file", "cannot be read: No such file"),
    "not a key": (lambda _, pair: pair.key.write_text("c4n4ry"), "key_file", "-----BEGIN PRIVATE KEY"),
    "for others": (lambda _, pair: pair.key.chmod(0o644), "key_file", "(mode 0644); run: chmod 600"),
    "another's": (_another_key, "key_file", "is not the key of the certificate in"),
    "encrypted": (
        lambda authority, _: authority.issue("server", *HERE, passphrase=b"c4n4ry"), "key_file", "openssl pkey -in",
    ),
    "over": (
        lambda authority, _: authority.issue("server", *HERE, begins=NOW - 9 * DAY, lives=8 * DAY),
        "certificate_file",
        "expired at",
    ),
    "early": (
        lambda authority, _: authority.issue("server", *HERE, begins=NOW + DAY), "certificate_file", "not valid before",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", list(SPOILT))
def test_a_file_that_is_no_good_is_named_with_what_helps(authority: Authority, fault: str) -> None:
    """The key of the configuration, the file, and the fix; never a byte of what is in the file."""
    pair = authority.issue("server", *HERE)
    spoil, key, says = SPOILT[fault]
    spoil(authority, pair)

    with pytest.raises(Unfit) as unfit:
        loaded(pair)

    assert key == unfit.value.key
    assert str(pair.key if key == "key_file" else pair.certificate) in unfit.value.message
    assert says in str(unfit.value)
    assert "c4n4ry" not in str(unfit.value)


@pytest.mark.parametrize("content", ["", "c4n4ry"])
def test_an_authority_that_is_none_is_named(authority: Authority, tmp_path: Path, content: str) -> None:
    """An empty file would let nobody in, or everybody."""
    file = tmp_path / "ca.pem"
    file.write_text(content)
    with pytest.raises(Unfit, match=r"ca\.pem holds no certificate") as unfit:
        loaded(authority.issue("server", *HERE), file)
    assert "client_ca_file" == unfit.value.key


def test_a_server_starts_with_a_certificate_that_is_over(authority: Authority) -> None:
    """Without a server tokens are lost; with it operators see what is wrong."""
    pair = authority.issue("server", *HERE, begins=NOW - 9 * DAY, lives=8 * DAY)
    assert loaded(pair, expired=True).ends < NOW


@pytest.mark.parametrize(
    ("address", "hosts", "expected"),
    [
        (Tcp("127.0.0.1", 1), ("localhost", "127.0.0.1"), "127.0.0.1:1"),
        (Tcp("127.0.0.1", 1), ("bearerd.internal", "localhost"), "localhost:1"),
        (Tcp("127.0.0.1", 1), ("bearerd.internal",), "bearerd.internal:1"),
        (Tcp("10.0.0.1", 1), ("bearerd.internal", "10.0.0.1"), "10.0.0.1:1"),
        (Tcp("10.0.0.1", 1), ("localhost", "10.0.0.2"), "10.0.0.1:1"),
        (Tcp("0.0.0.0", 1), ("bearerd.internal",), "bearerd.internal:1"),
        (Tcp("0.0.0.0", 1), (), "127.0.0.1:1"),
        (Tcp("::", 1), ("::1",), "[::1]:1"),
    ],
    ids=str,
)
def test_a_listener_is_called_by_a_name_of_its_certificate(address: Tcp, hosts: tuple[str, ...], expected: str) -> None:
    """Whoever checks the certificate would not get through under another one."""
    assert expected == place(address, hosts)


async def looked(certificates: Certificates) -> bool:
    """Two looks: files that were just changed are left alone for one, because somebody may still be writing."""
    return await certificates.look() or await certificates.look()


async def test_new_files_are_in_force_a_moment_later(authority: Authority) -> None:
    """As long as key and certificate do not fit each other, and where the new one is over, the old one stays."""
    clock = SetClock()
    pair = authority.issue("server", *HERE)
    found = Certificates(told(pair), await asyncio.to_thread(loaded, pair), clock)
    first = found.context()
    assert ((), False) == (tuple(found.warnings()), await looked(found))

    authority.issue("server", *HERE, "new.internal")
    assert await looked(found)
    assert ("localhost", "new.internal", "127.0.0.1", "::1") == found.hosts
    assert found.hosts == await asyncio.to_thread(hosts_of, pair.certificate)
    assert first is not found.context()
    assert ("localhost:7", "new.internal:7", "127.0.0.1:7", "[::1]:7") == found.names(7)

    second = found.context()
    _another_key(authority, pair)
    assert not await looked(found)
    assert not await looked(found)
    assert (second, True) == (found.context(), "is not the key of the certificate" in found.warnings()[0])
    authority.issue("server", *HERE, begins=NOW - 9 * DAY, lives=8 * DAY)
    assert (False, second) == (await looked(found), found.context())
    authority.issue("server", *HERE)
    assert await looked(found)
    assert [] == found.warnings()


async def test_a_certificate_that_ends_is_told_of(authority: Authority, tmp_path: Path) -> None:
    """Fourteen days before, or in the last quarter of a short life; an authority of clients too."""
    other = Authority(tmp_path / "theirs", "theirs", now=NOW)
    long, short = authority.issue("server", *HERE), authority.issue("short", *HERE, lives=4 * DAY)
    clock = SetClock(NOW + 75 * DAY)
    found = Certificates(told(long, other.file), await asyncio.to_thread(loaded, long, other.file), clock)
    assert [] == found.warnings()
    clock.wall = NOW + 77 * DAY - 1800
    assert [f"the certificate {long.certificate} expires in 12d23h: replace the file in time"] == found.warnings()
    clock.wall = NOW + 395 * DAY
    over, authority_line = found.warnings()
    assert "clients that check it do not call" in over
    assert f"an authority in {other.file} expires soon: clients' certificates end with it" == authority_line

    found = Certificates(told(short), await asyncio.to_thread(loaded, short), clock)
    for days, lines in ((2.5, 0), (3.5, 1), (-1, 1)):
        clock.wall = NOW + days * DAY
        assert lines == len(found.warnings())


async def test_a_reload_does_not_fail_for_a_certificate_that_was_over_before(
    authority: Authority, tmp_path: Path
) -> None:
    """Somebody takes a client's rights away, say; and any other certificate is taken then."""
    authority.issue("server", *HERE, begins=NOW - 9 * DAY, lives=8 * DAY)
    await asyncio.to_thread((tmp_path / "config.yaml").write_text, CONFIG)
    config = (await asyncio.to_thread(read, tmp_path / "config.yaml", {"HOME": str(tmp_path)})).config
    found = await Certificates.opened(config, SetClock())
    found.take(config.tls, await found.read(config))
    assert found.ends < NOW
    authority.issue("server", *HERE, begins=NOW - 9 * DAY, lives=8.5 * DAY)
    assert await looked(found)
    authority.issue("server", *HERE)
    assert await looked(found)
    authority.issue("server", *HERE, begins=NOW - 9 * DAY, lives=8 * DAY)
    with pytest.raises(ConfigInvalid, match="expired at"):
        await found.read(config)


CONFIG = """\
version: 1
listen: 127.0.0.1:0
console: "off"
store: sqlite:store.db
clients: none
tls:
  certificate_file: tls/server.crt
  key_file: tls/server.key
"""


async def test_what_is_wrong_with_a_file_names_its_line(authority: Authority, tmp_path: Path) -> None:
    """As any other mistake of the configuration."""
    pair = authority.issue("server", *HERE)
    (tmp_path / "config.yaml").write_text(CONFIG)
    config = (await asyncio.to_thread(read, tmp_path / "config.yaml", {"HOME": str(tmp_path)})).config
    found = await Certificates.opened(config, SetClock())
    assert found.ends > NOW

    pair.key.chmod(0o640)
    await Certificates.opened(config, SetClock())  # a group may read it: how keys are shared on Debian
    pair.key.chmod(0o604)
    for attempt in (Certificates.opened(config, SetClock()), found.read(config)):
        with pytest.raises(ConfigInvalid, match="open to other users") as invalid:
            await attempt
        (problem,) = invalid.value.problems
        assert ("tls.key_file", 8) == (problem.path, problem.mark and problem.mark.line)


async def test_a_reload_takes_other_files_whole_or_not_at_all(authority: Authority, tmp_path: Path) -> None:
    """What was read is put in force by a second step that cannot fail."""
    authority.issue("server", *HERE)
    (tmp_path / "config.yaml").write_text(CONFIG)
    config = (await asyncio.to_thread(read, tmp_path / "config.yaml", {"HOME": str(tmp_path)})).config
    found = await Certificates.opened(config, SetClock())
    authority.issue("other", "other.internal")
    other = config.model_copy(update={"tls": told(Pair(tmp_path / "tls/other.crt", tmp_path / "tls/other.key"))})

    in_force = await found.read(other)
    assert "other.internal" not in found.hosts
    found.take(other.tls, in_force)
    assert (("other.internal",), False) == (found.hosts, await looked(found))
    assert replace(in_force) == in_force
