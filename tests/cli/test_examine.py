"""What is looked at on this machine, one by one."""

import asyncio
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.cli import examine
from proxy.cli.examine import Finding
from proxy.cli.invocation import Invocation
from proxy.cli.output import BAD, GOOD, NOTE
from proxy.clock import SystemClock
from proxy.config import Tcp
from proxy.settings import Settings
from proxy.store.files import SYSTEM_FILES
from tests.authority import DAY, Authority
from tests.cli.support import Person


def test_the_system_is_told(settings: Settings) -> None:
    """Python, open files, the clock; more connections than files is worth a word."""
    found = {each.what: each for each in examine.system(settings.config)}
    assert {"python", "open files", "clock"} == found.keys()
    limits = settings.config.limits.model_copy(update={"connections": 1_000_000})
    many = {each.what: each for each in examine.system(settings.config.model_copy(update={"limits": limits}))}
    assert NOTE == many["open files"].mark
    assert "LimitNOFILE" in (many["open files"].fix or "")


def test_permissions_are_told(settings: Settings) -> None:
    """A configuration that others may write, and a state directory that they may enter or that is a file."""
    config = settings.config
    state = config.state_dir
    found = {each.what: each for each in examine.permissions(config)}
    assert (GOOD, NOTE) == (found["configuration"].mark, found["state directory"].mark)
    assert "is made at the first start" in found["state directory"].text

    Path(config.name).chmod(0o664)
    state.mkdir(mode=0o750)
    state.chmod(0o750)
    found = {each.what: each for each in examine.permissions(config)}
    assert (BAD, f"chmod go-w {config.name}") == (found["configuration"].mark, found["configuration"].fix)
    assert (BAD, f"chmod 700 {state}") == (found["state directory"].mark, found["state directory"].fix)

    state.rmdir()
    state.touch()
    found = {each.what: each for each in examine.permissions(config)}
    assert (BAD, f"{state} is not a directory") == (found["state directory"].mark, found["state directory"].text)


@pytest.mark.parametrize(
    ("lives", "mark", "text"),
    [(90 * DAY, GOOD, "good until"), (3 * DAY, NOTE, "ends in"), (1.0, BAD, "it expired")],
    ids=["good", "soon over", "over"],
)
def test_our_certificate_is_told(person: Person, settings: Settings, lives: float, mark: str, text: str) -> None:
    """Good, soon over, over."""
    now = SystemClock().now().wall
    authority = Authority(person.home / "tls", "ours", now=now)
    pair = authority.issue("server", "127.0.0.1", begins=now - DAY, lives=DAY + lives if lives > 1 else lives)
    tls = settings.config.tls.model_copy(update={"certificate_file": pair.certificate, "key_file": pair.key})
    (found,) = examine.certificates(settings.config.model_copy(update={"tls": tls}))
    assert (mark, True) == (found.mark, text in found.text), found


def test_a_taken_port_is_told(settings: Settings) -> None:
    """With what says who has it; an address of another machine too."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = Tcp("127.0.0.1", holder.getsockname()[1])
        config = settings.config.model_copy(update={"listen": (taken,), "console": (Tcp("192.0.2.1", 80),)})
        found = {each.what: each for each in examine.ports(replace(settings, config=config))}
    assert BAD == found[f"port {taken}"].mark
    assert f"sport = :{taken.port}" in (found[f"port {taken}"].fix or "")
    assert "an address of this machine" in (found["port 192.0.2.1:80"].fix or "")


async def test_a_store_that_cannot_be_opened_is_told(invocation: Invocation, settings: Settings) -> None:
    """With the next command; the other checks go on."""
    found, status = await examine.all_of(invocation, settings)
    (store,) = [each for each in found if each.what == "store"]
    assert (BAD, None) == (store.mark, status)
    assert "there is no store at" in store.text
    assert "bearerd init" in (store.fix or "")
    assert "server" in {each.what for each in found}


async def test_the_state_of_another_user_is_left_to_them(invocation: Invocation, settings: Settings) -> None:
    """Say root's look at a service: to take the directory from its user would end it, and its ports are taken."""
    config = settings.config.model_copy(update={"state": Path("/")})
    if os.geteuid() == 0:
        config = settings.config
        await asyncio.to_thread(config.state_dir.mkdir, 0o700)
        await asyncio.to_thread(os.chown, config.state_dir, 65534, -1)
    found, status = await examine.all_of(invocation, replace(settings, config=config))
    (state,) = [each for each in found if each.what == "state directory"]
    assert (BAD, None) == (state.mark, status)
    assert (state.fix or "").startswith("sudo -u ")
    assert not [each for each in found if each.what in {"store", "server"} or "chown" in (each.fix or "")]


async def test_a_server_that_hangs_is_told_from_none(invocation: Invocation, settings: Settings) -> None:
    """Whoever has the lock and does not answer must not be called absent."""
    path = settings.config.state_dir
    await asyncio.to_thread(path.mkdir, 0o700)
    lock = await asyncio.to_thread(SYSTEM_FILES.lock, path / "journal.lock")
    try:
        _, (told,) = await examine.server(settings.config)
    finally:
        SYSTEM_FILES.close(lock)
    assert (BAD, True) == (told.mark, f"process {os.getpid()} has the state directory" in told.text)
    _, (told,) = await examine.server(settings.config)
    assert (NOTE, "bearerd serve") == (told.mark, told.fix)


def test_what_is_told_is_one_line() -> None:
    """A database's error may have several, and a table has one for each finding."""
    assert "a b" == Finding("store", BAD, "a\n  b\u2028").document()["text"]


async def test_a_passphrase_in_a_file_needs_nobody(invocation: Invocation, settings: Settings) -> None:
    """Only where there is none at all the store is not looked at."""
    config = settings.config.model_copy(update={"key": "passphrase"})
    (told,) = [finding async for finding in examine.custody(invocation, config)]
    assert NOTE == told.mark
    invocation.environ["BEARERD_PASSPHRASE_FILE"] = "file"
    (told,) = [finding async for finding in examine.custody(invocation, config)]
    assert (BAD, True) == (told.mark, "there is no store at" in told.text)
