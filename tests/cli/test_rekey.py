"""`bearerd rekey`."""

from tests.cli.support import Person


def test_a_new_key_opens_what_the_old_one_sealed(customer: Person) -> None:
    """In its place; the old one opens nothing any more (5)."""
    file = customer.home / "keys/master.key"
    old = file.read_text()
    assert 0 == customer.run("rekey").code
    assert old != file.read_text()
    assert 1 == customer.run("clients", "list", "--json").document["clients"][0]["keys"]

    file.write_text(old)
    done = customer.run("clients", "list")
    assert 5 == done.code
    assert "sealed with the master key" in done.err


def test_a_key_from_another_place(customer: Person) -> None:
    """It is made there, and the person is told which setting to change."""
    done = customer.run("rekey", "--to", "file:keys/second.key")

    assert 0 == done.code, done.err
    assert "set `key: file:keys/second.key`" in done.err
    assert 0 == customer.run("clients", "list", BEARERD_KEY_SOURCE=f"file:{customer.home}/keys/second.key").code


def test_a_running_server_is_named(customer: Person) -> None:
    """5, with its process id; nothing was changed."""
    server = customer.serve()
    done = customer.run("rekey")

    assert 5 == done.code
    assert f"process {server.pid}" in done.err
