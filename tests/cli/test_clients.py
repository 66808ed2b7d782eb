"""`bearerd clients`, with and without a running server."""

import pytest

from proxy.gate.clients import key_fault
from tests.cli.support import Person, invoke


def test_a_key_is_made_listed_and_removed_without_a_server(customer: Person) -> None:
    """The key stands alone on stdout; the list counts it; after removal there is none."""
    done = customer.run("clients", "add", "notebook")
    assert (0, None) == (done.code, key_fault(done.out.removesuffix("\n")))
    assert done.out.strip() not in customer.run("clients", "list").out
    assert "✓ notebook  2     questrade: read_md" in customer.run("clients", "list").out

    assert 1 == customer.run("clients", "remove", "notebook").code
    assert 2 == customer.run("clients", "remove", "notebook", "--yes", "--json").document["removed"]
    assert 1 == customer.run("clients", "remove", "notebook", "--yes").code


def test_a_client_that_the_configuration_lacks_gets_a_warning(customer: Person) -> None:
    """The key is made all the same; what to add is said on stderr."""
    done = customer.run("clients", "add", "bot")

    assert 0 == done.code
    assert "'bot' has no rights yet" in done.err


def test_the_server_makes_keys_too(customer: Person) -> None:
    """A key that is made while it runs counts at once."""
    customer.serve()

    assert 0 == customer.run("clients", "add", "notebook").code
    assert 2 == customer.run("status", "--json").document["clients"][0]["keys"]


@pytest.mark.parametrize("name", ["Notebook", "note book", "../etc", ""])
def test_a_name_that_the_configuration_could_not_hold(name: str) -> None:
    """A usage error before anything is opened."""
    assert 2 == invoke("clients", "add", name).exit_code
