"""Our own certificates: when a new one is in force, and what is told of them."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from proxy import localca
from proxy.certificates import RETRY, Certificates, place
from proxy.clock import Now
from proxy.config import Config, ConfigInvalid, Tcp
from proxy.inforce import hosts_of
from proxy.settings import read
from tests.authority import DAY, HERE, Authority, Pair
from tests.test_inforce import NOW, NOWHERE, another_key, loaded, told


@dataclass
class SetClock:
    """A clock that is moved by hand."""

    wall: float = NOW
    stepped: float = 0.0  # of that, by somebody who set the clock

    def now(self) -> Now:
        return Now(self.wall, self.wall - self.stepped)


@pytest.fixture(name="authority")
def _authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls", "ours", now=NOW)


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
    found = Certificates(told(pair), NOWHERE, await asyncio.to_thread(loaded, pair), clock)
    first = found.context()
    assert ((), False) == (tuple(found.warnings()), await looked(found))

    authority.issue("server", *HERE, "new.internal")
    assert await looked(found)
    assert ("localhost", "new.internal", "127.0.0.1", "::1") == found.hosts
    assert found.hosts == await asyncio.to_thread(hosts_of, pair.certificate)
    assert first is not found.context()
    assert ("localhost:7", "new.internal:7", "127.0.0.1:7", "[::1]:7") == found.names(7)

    second = found.context()
    another_key(authority, pair)
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
    found = Certificates(told(long, other.file), NOWHERE, await asyncio.to_thread(loaded, long, other.file), clock)
    assert [] == found.warnings()
    clock.wall = NOW + 77 * DAY - 1800
    assert [f"the certificate {long.certificate} expires in 12d23h: replace the file in time"] == found.warnings()
    clock.wall = NOW + 395 * DAY
    over, authority_line = found.warnings()
    assert "clients that check it do not call" in over
    assert f"an authority in {other.file} expires soon: clients' certificates end with it" == authority_line

    found = Certificates(told(short), NOWHERE, await asyncio.to_thread(loaded, short), clock)
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


LOCAL = """\
version: 1
listen: 127.0.0.1:0
console: "off"
store: sqlite:state/store.db
clients: none
tls: {local_ca: true}
"""


async def own(tmp_path: Path, text: str = LOCAL) -> Config:
    """A configuration with a local authority that has been made."""
    await asyncio.to_thread((tmp_path / "config.yaml").write_text, text)
    config = (await asyncio.to_thread(read, tmp_path / "config.yaml", {"HOME": str(tmp_path)})).config
    await asyncio.to_thread(localca.make, localca.file_of(config), (), NOW)
    return config


async def test_a_certificate_of_the_local_authority_is_made_anew_in_time(tmp_path: Path) -> None:
    """At two thirds of its life, and where the clock was ahead when it was made; nobody has to do anything."""
    clock, config = SetClock(), await own(tmp_path)
    found = await Certificates.opened(config, clock)
    first, ends = found.context(), found.ends
    assert (tmp_path / "state/tls/bundle.pem").exists()
    clock.wall = NOW + 60 * DAY - 5
    assert (False, first) == (await found.look(), found.context())

    clock.wall = NOW + 60 * DAY + 5
    assert await found.look()
    assert (True, True) == (found.context() is not first, found.ends > ends + 59 * DAY)
    assert ([], False) == (found.warnings(), await found.look())

    clock.wall = NOW + DAY  # it was ahead by two months
    assert await found.look()
    assert (False, ends + DAY) == (await found.look(), found.ends)


async def test_a_renewal_that_fails_is_told_of_and_tried_again(tmp_path: Path) -> None:
    """Ten minutes later; the certificate in force stays until then."""
    clock, config = SetClock(), await own(tmp_path)
    found = await Certificates.opened(config, clock)
    first, file = found.context(), localca.file_of(config)
    clock.wall += 61 * DAY
    await asyncio.to_thread(file.chmod, 0o644)
    assert not await looked(found)
    for _ in range(2):
        assert (False, first) == (await found.look(), found.context())
        assert "no new certificate can be made: " in found.warnings()[0]
    await asyncio.to_thread(file.chmod, 0o600)

    clock.wall += RETRY
    assert await looked(found)
    assert ([], True) == (found.warnings(), found.context() is not first)


async def test_a_clock_that_was_ahead_puts_no_renewal_off(tmp_path: Path) -> None:
    """One that failed meanwhile is tried again in ten minutes of real time."""
    clock, config = SetClock(), await own(tmp_path)
    found = await Certificates.opened(config, clock)
    file = localca.file_of(config)
    clock.wall, clock.stepped = NOW + 365 * DAY, 365 * DAY
    await asyncio.to_thread(file.chmod, 0o644)
    assert not await looked(found)
    await asyncio.to_thread(file.chmod, 0o600)

    clock.wall, clock.stepped = NOW + 61 * DAY, 0.0
    assert await looked(found)
    assert NOW + 150 * DAY < found.ends


async def test_another_authority_is_in_force_at_once(tmp_path: Path) -> None:
    """With `bearerd tls init --replace`; names that it lacks are told of, one that ends is too."""
    more = 'allowed_hosts: ["bearerd.internal:*"]\n'
    clock, config = SetClock(), await own(tmp_path, LOCAL + more)
    found = await Certificates.opened(config, clock)
    assert ["the local CA was made without bearerd.internal; to be called so, run: bearerd tls init --replace"] == (
        found.warnings()
    )
    await asyncio.to_thread(localca.make, localca.file_of(config), ["bearerd.internal"], NOW, replace=True)

    assert await looked(found)
    assert ([], True) == (found.warnings(), "bearerd.internal" in found.hosts)
    clock.wall = NOW + localca.LIFE - 2 * DAY - 60
    assert await found.look()
    assert ["the local CA expires in 2d0h: run: bearerd tls init --replace"] == found.warnings()


async def test_a_configuration_without_its_authority_names_the_command(tmp_path: Path) -> None:
    """It is made on request only: who trusts it should know of it."""
    await asyncio.to_thread((tmp_path / "config.yaml").write_text, LOCAL)
    config = (await asyncio.to_thread(read, tmp_path / "config.yaml", {"HOME": str(tmp_path)})).config

    with pytest.raises(ConfigInvalid, match="bearerd tls init") as invalid:
        await Certificates.opened(config, SetClock())
    (problem,) = invalid.value.problems
    assert ("tls.local_ca", 6) == (problem.path, problem.mark and problem.mark.line)
