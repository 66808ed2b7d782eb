"""A certificate as it is put into force: what is refused, in which words, and what the local authority makes."""

import shutil
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy import localca
from proxy.clock import SystemClock
from proxy.config import Tls
from proxy.inforce import InForce, Local, Unfit, hosts_in, load
from proxy.settings import read
from tests.authority import DAY, HERE, Authority, Pair

NOW = SystemClock().now().wall  # certificates are judged by OpenSSL's own clock, too
NOWHERE = Local(Path("nowhere.pem"))


@pytest.fixture(name="authority")
def _authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls", "ours", now=NOW)


def told(pair: Pair, client_ca: Path | None = None, **more: Any) -> Tls:
    return Tls.model_construct(
        certificate_file=pair.certificate, key_file=pair.key, client_ca_file=client_ca, client_certificate="any", **more
    )


def loaded(pair: Pair, client_ca: Path | None = None, *, expired: bool = False) -> InForce:
    return load(told(pair, client_ca), NOW, expired=expired, local=NOWHERE)


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


def another_key(authority: Authority, pair: Pair) -> None:
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
    "another's": (another_key, "key_file", "is not the key of the certificate in"),
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


LOCAL = Tls.model_construct(local_ca=True, client_certificate="any")


def local(tmp_path: Path, *names: str, hosts: tuple[str, ...] = (), made: float = NOW) -> Local:
    """An authority that was made for these names."""
    found = Local(tmp_path / "state" / "tls" / localca.FILE, hosts)
    localca.make(found.file, names, made)
    return found


def test_the_local_authority_makes_a_certificate_that_lives_in_memory(tmp_path: Path) -> None:
    """For this machine, what it was made for, and what is listened on; nothing of it stays on the disk."""
    there = local(tmp_path, "bearerd.internal", "10.1.2.3", hosts=("127.0.0.2", "10.9.9.9", "other.internal"))

    found = load(LOCAL, NOW, expired=False, local=there)

    names = ("localhost", "127.0.0.1", "::1", "bearerd.internal", "10.1.2.3", "127.0.0.2")
    assert set(names) == set(found.hosts)
    assert ("10.9.9.9", "other.internal") == found.lacks
    assert (NOW + localca.LEAF) // 1 == found.ends
    assert (NOW - localca.SLACK, NOW + localca.RENEWED) == found.fresh
    assert found.local == there
    assert [localca.FILE] == [file.name for file in there.file.parent.iterdir()]
    handshake(found.context, ssl.create_default_context(cadata=localca.read(there.file).pem.decode()), "127.0.0.2")


def test_a_certificate_never_outlives_its_authority(tmp_path: Path) -> None:
    """One that is over is served to keep the server up, and refused where a better one is in force."""
    there = local(tmp_path, made=NOW - localca.LIFE + 5 * DAY)
    assert localca.read(there.file).ends == load(LOCAL, NOW, expired=False, local=there).ends
    later = NOW + 6 * DAY

    with pytest.raises(Unfit, match=r"expired at .*; run: bearerd tls init --replace"):
        load(LOCAL, later, expired=False, local=there)

    found = load(LOCAL, later, expired=True, local=there)
    assert found.begins < found.ends < later


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda file: file.unlink(), "there is no local authority yet; run: bearerd tls init"),
        (lambda file: file.write_text("c4n4ry"), "is damaged; run: bearerd tls init --replace"),
        (lambda file: file.chmod(0o644), "(mode 0644); run: chmod 600"),
    ],
    ids=["missing", "damaged", "for others"],
)
def test_an_authority_that_is_no_good_is_named_with_what_helps(
    tmp_path: Path, spoil: Callable[[Path], object], says: str
) -> None:
    """And never a byte of it."""
    there = local(tmp_path)
    spoil(there.file)

    with pytest.raises(Unfit) as unfit:
        load(LOCAL, NOW, expired=True, local=there)

    assert "local_ca" == unfit.value.key
    assert says in str(unfit.value)
    assert "c4n4ry" not in str(unfit.value)


def test_a_configuration_tells_what_its_certificate_is_for(tmp_path: Path) -> None:
    """Of a file, or of the local authority before any server runs."""
    text = 'version: 1\nconsole: "off"\nstore: sqlite:state/store.db\nclients: {bot: {}}\nlisten: 10.1.2.3:1\n'
    text += 'allowed_hosts: ["bearerd.internal:*", "[::1]:9", "localhost:*"]\ntls: {local_ca: true}\n'
    (tmp_path / "config.yaml").write_text(text)
    config = read(tmp_path / "config.yaml", {"HOME": str(tmp_path)}).config
    there = Local.of(config)
    assert ("bearerd.internal", "10.1.2.3") == localca.beyond(config)
    assert {"bearerd.internal", "10.1.2.3", "::1", "localhost"} == {*there.hosts}
    localca.make(there.file, localca.beyond(config), NOW)

    assert {"localhost", "127.0.0.1", "::1", "bearerd.internal", "10.1.2.3"} == {*hosts_in(config)}


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """A real one, through buffers. `ssl.SSLError` if either does not like the other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=name)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [one, other]
    while waiting:
        for each in tuple(waiting):
            try:
                each.do_handshake()
                waiting.remove(each)
            except ssl.SSLWantReadError:
                pass
