"""`bearerd clients`, with and without a running server."""

import re

import pytest

from proxy.gate.clients import key_fault
from tests.cli.support import Person, invoke


def test_a_key_is_made_listed_and_removed_without_a_server(customer: Person) -> None:
    """The key stands alone on stdout; the list counts it; after removal there is none."""
    done = customer.run("clients", "add", "notebook")
    assert (0, None) == (done.code, key_fault(done.out.removesuffix("\n")))
    assert done.out.strip() not in customer.run("clients", "list").out
    listed = customer.run("clients", "list").out
    assert "✓ notebook  2     never      questrade: read_md" in listed
    assert re.search(r"✓ notebook 2 +20\d\d-\d\d-\d\d \d\d:\d\d \w+ +never +never +everybody's", listed), listed

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


def test_a_key_is_bound_to_one_person_without_a_server(customer: Person) -> None:
    """The list counts bound keys apart; one person's are removed without the others'."""
    for person in ("ann", "bob"):
        made = customer.run("clients", "add", "notebook", "--grant", f"questrade/{person}")
        assert 0 == made.code
        assert f"questrade/{person} is not logged in yet: bearerd login questrade/{person}" in made.err
    assert "3 (2 bound)" in customer.run("clients", "list").out

    done = customer.run("clients", "remove", "notebook", "--grant", "questrade/ann", "--yes", "--json")
    assert 1 == done.document["removed"]
    done = customer.run("clients", "remove", "notebook", "--grant", "questrade/ann", "--yes")
    assert (1, True) == (done.code, "has no key that is bound to questrade/ann" in done.err)
    assert "2 (1 bound)" in customer.run("clients", "list").out
    for wrong in ("questrade/ANN",):
        assert 1 == customer.run("clients", "add", "notebook", "--grant", wrong).code


def test_a_key_has_an_end_and_is_replaced_without_a_server(customer: Person) -> None:
    """`rotate` prints the new key alone, and the old one gets its end; one key is removed by its number."""
    made = customer.run("clients", "add", "notebook", "--expires", "2099-12-31", "--json").document
    assert (2, 4_102_444_800.0) == (made["number"], made["expires"])
    several = customer.run("clients", "rotate", "notebook")
    assert (1, True) == (several.code, "several keys; say which to replace: --key 1, 2" in several.err)

    done = customer.run("clients", "rotate", "notebook", "--key", "1", "--overlap", "30m", "--expires", "90d")

    assert (0, None) == (done.code, key_fault(done.out.strip()))
    assert re.search(r"Key 1 of notebook is refused from 20.* on\.\nKey 3, good until 20", done.err)
    listed = customer.run("clients", "list", "notebook").out
    assert re.search(r"✓ notebook 1 .* in (30m|29m), replaced +never", listed)
    assert re.search(r"✓ notebook 3 .* in (89d23h|90d0h) +never", listed)
    assert 1 == customer.run("clients", "remove", "notebook", "--key", "2", "--yes", "--json").document["removed"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "notebook", "--expires", "soon"),
        ("add", "notebook", "--expires", "90"),
        ("rotate", "notebook", "--overlap", "2026-01-01"),
        ("rotate", "notebook", "--key", "0"),
        ("remove", "notebook", "--key", "x"),
        ("list", "--grant", "questrade/ann"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    """Before anything is opened."""
    assert 2 == invoke("clients", *arguments).exit_code
