"""Asking the server, or doing it here."""

import pytest

from proxy.admin import ServerGone
from proxy.cli.exits import Stop
from proxy.cli.invocation import Invocation
from proxy.cli.server import answers, ask, mount_of, operate
from proxy.settings import Settings
from proxy.store.keys import Source
from tests.cli.support import Person


@pytest.fixture
def invocation(person: Person) -> Invocation:
    """Somebody with a configuration and a master key, and no server."""
    path = person.write_config(**{"    environment: live": "    environment: live\n    grant: family"})
    found = Invocation(path, environ={"HOME": str(person.home)})
    config = found.settings().config
    Source(config.key, config.base).create()
    return found


@pytest.fixture
def settings(invocation: Invocation) -> Settings:
    return invocation.settings()


def test_a_grant_s_name_is_as_good_as_a_mount_s(settings: Settings) -> None:
    """Both lead to a mount; anything else is named."""
    assert "questrade" == mount_of(settings, "family")
    assert "questrade" == mount_of(settings, "questrade")
    with pytest.raises(Stop, match="no mount or grant 'alpaca'"):
        mount_of(settings, "alpaca")


async def test_without_a_server_the_store_is_opened_here(invocation: Invocation, settings: Settings) -> None:
    """The same commands give the same answers."""
    assert not await answers(settings)
    assert (await operate(invocation, settings, "clients-add", {"name": "notebook"}))["key"].startswith("brd_")
    found = await operate(invocation, settings, "clients-list", {})
    assert [("notebook", 1)] == [(client["name"], client["keys"]) for client in found["clients"]]


async def test_what_only_a_server_knows_needs_one(invocation: Invocation, settings: Settings) -> None:
    """`ask` never opens the store."""
    from proxy.admin import call
    from proxy.custody import socket_path

    with pytest.raises(ServerGone):
        await call(socket_path(settings.config), "status", {}, timeout=1)
    assert not settings.config.store_path.exists()
    assert callable(ask)
