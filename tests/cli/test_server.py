"""Asking the server, or doing it here."""

import pytest

import proxy.cli.offline  # noqa: F401  the product imports it late, and the event loop is watched here
from proxy.cli.exits import Stop
from proxy.cli.invocation import Invocation
from proxy.cli.server import answers, mount_of, operate
from proxy.settings import Settings
from tests.cli.support import Person


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


def test_what_only_a_server_knows_needs_one(person: Person, settings: Settings) -> None:
    """`ask` never opens the store."""
    assert 6 == person.run("status", "-c", str(person.config)).code
    store = settings.config.store_path
    assert store is not None
    assert not store.exists()
