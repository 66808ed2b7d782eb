"""The variables by which programs trust the local authority."""

import asyncio
from pathlib import Path

import pytest
from cryptography import x509

from proxy import localca
from proxy.cli.exits import Stop
from proxy.cli.trust import ADDS, IF_SET, REPLACES, trusted, trusting
from proxy.clock import SystemClock
from proxy.config import Config
from proxy.settings import read
from tests.authority import HERE, Authority
from tests.test_vestibule import Doorway, serving

NOW = SystemClock().now().wall


@pytest.fixture(name="config")
def _config(tmp_path: Path) -> Config:
    (tmp_path / "config.yaml").write_text("version: 1\nstore: sqlite:state/store.db\ntls: {local_ca: true}\n")
    return read(tmp_path / "config.yaml", {"HOME": str(tmp_path)}).config


@pytest.fixture(name="ca")
def _ca(config: Config) -> localca.LocalCa:
    return localca.make(localca.file_of(config), (), NOW)


@pytest.fixture(name="theirs")
def _theirs(tmp_path: Path) -> Path:
    return Authority(tmp_path / "theirs", "theirs", now=NOW).file


def holds(file: str) -> set[str]:
    """Whose certificates are in a file of few; of many `everybody` stands for all that are not ours."""
    text = Path(file).read_bytes()
    many = text.count(b"BEGIN CERTIFICATE") > 50
    found = x509.load_pem_x509_certificates(text[text.rindex(b"-----BEGIN") :] if many else text)
    return {each.subject.rfc4514_string().removeprefix("CN=") for each in found} | ({"everybody"} if many else set())


def test_a_program_trusts_us_beside_all_others(config: Config, ca: localca.LocalCa) -> None:
    """Node.js is given ours alone, since it adds it; the others a bundle, since they would know nobody else."""
    said: list[str] = []

    found = trusting(config, {"PATH": "/bin", "SSL_CERT_FILE": ""}, said.append)

    assert {ADDS, *REPLACES} == found.keys()
    assert {ca.name} == holds(found[ADDS])
    assert [{ca.name, "everybody"}] * len(REPLACES) == [holds(found[name]) for name in REPLACES]
    assert [] == said
    assert found == trusting(config, found, said.append)


def test_what_a_person_has_set_is_kept(config: Config, ca: localca.LocalCa, theirs: Path) -> None:
    """With ours beside it; where a program looks at two variables, at the one that it would have taken."""
    said: list[str] = []
    for names, changed in (
        ((ADDS,), {ADDS}),
        (("SSL_CERT_FILE",), {"SSL_CERT_FILE", "CURL_CA_BUNDLE"}),
        (("CURL_CA_BUNDLE",), {"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"}),
        (("REQUESTS_CA_BUNDLE",), {"REQUESTS_CA_BUNDLE"}),
        (IF_SET, set(IF_SET)),
    ):
        found = trusting(config, dict.fromkeys(names, str(theirs)), said.append)
        assert changed == {name for name, file in found.items() if holds(file) == {"theirs", ca.name}}
        assert found == trusting(config, found, said.append)
    assert [] == said


def test_what_cannot_be_kept_is_left_and_said(config: Config, ca: localca.LocalCa, tmp_path: Path) -> None:
    """Some take a directory: it is the person's own."""
    said: list[str] = []

    found = trusting(config, {"REQUESTS_CA_BUNDLE": str(tmp_path), ADDS: str(tmp_path / "gone")}, said.append)

    assert {"SSL_CERT_FILE", "CURL_CA_BUNDLE"} == found.keys()
    assert [ADDS, "REQUESTS_CA_BUNDLE"] == [line.split()[1] for line in said]
    assert "No such file" in said[0]
    assert "Is a directory" in said[1]
    assert ca.name not in "".join(said)


def test_another_authority_takes_the_place_of_the_old_one(config: Config, ca: localca.LocalCa, theirs: Path) -> None:
    """Files that were made before are not believed for their names."""
    environ = {"SSL_CERT_FILE": str(theirs)}
    old = trusting(config, environ, print)
    new = localca.make(localca.file_of(config), (), NOW, replace=True)

    for start in (environ, old):
        found = trusting(config, start, print)
        assert {new.name} <= holds(found["SSL_CERT_FILE"])
        assert {new.name} == holds(found[ADDS])
    assert new.name != ca.name


def test_without_an_authority_the_command_is_named(config: Config) -> None:
    """A configuration may ask for it before it is there."""
    with pytest.raises(Stop) as stop:
        trusting(config, {}, print)
    assert "bearerd tls init" == stop.value.fix


async def test_trust_is_a_handshake(tmp_path: Path) -> None:
    """With what programs of this machine would trust; no server is not trusted either."""
    authority = Authority(tmp_path / "tls", "ours", now=NOW)
    authority.issue("server", *HERE)
    async with Doorway().tcp(await asyncio.to_thread(serving, authority)) as door:
        url = f"https://127.0.0.1:{door.port}"
        assert not await asyncio.to_thread(trusted, url)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(authority.file))
            assert await asyncio.to_thread(trusted, url)
    assert not await asyncio.to_thread(trusted, url)
