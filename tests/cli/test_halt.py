"""`bearerd halt` and `bearerd resume`, with and without a running server."""

import re

import pytest

from proxy.cli import halt
from tests.cli.support import Person, invoke


def test_a_halt_is_made_and_lifted_without_a_server(customer: Person) -> None:
    """Each says what it did and what comes next; a halt that stands is not made again."""
    done = customer.run("halt", "questrade", "--reason", "fat finger")
    assert 0 == done.code, done.output
    assert re.search(r"Halted: the mount questrade, since .* by \S+@\S+: fat finger\.", done.output)
    assert "To lift it: bearerd resume questrade --reason TEXT" in done.output
    assert "It stands already." in customer.run("halt", "questrade").output
    answer = customer.run("halt", "--cancels-too", "--json").document
    assert ([None, True], True) == ([answer["halt"]["mount"], answer["halt"]["cancels_too"]], answer["stored"])

    done = customer.run("resume", "questrade", "--reason", "all clear")
    assert 0 == done.code, done.output
    assert "Lifted. Halted: the mount questrade" in done.output
    assert "! Still there. Halted, cancels too: every mount" in done.output
    assert 1 == len(customer.run("resume", "--all", "--reason", "all clear", "--json").document["lifted"])
    done = customer.run("resume", "--reason", "again")
    assert (1, True) == (done.code, "there is no halt of every mount to resume" in done.err)


def test_a_running_server_is_halted(customer: Person) -> None:
    """The halt counts in the server, and its status shows it with the command that lifts it."""
    customer.serve()
    done = customer.run("halt", "--client", "notebook")
    assert 0 == done.code, done.output
    shown = customer.run("status").output
    assert "! Halted: every mount, client notebook, since" in shown
    assert "To lift it: bearerd resume --client notebook --reason TEXT" in shown
    text = customer.config.read_text()
    customer.config.write_text(f"{text}\nhalf-written: 1\n")
    assert 0 == customer.run("halt", "questrade").code
    assert 0 == customer.run("resume", "questrade", "--reason", "typing").code
    customer.config.write_text(text)
    done = customer.run("halt", "questrad")
    assert (1, True) == (done.code, "no mount 'questrad', and nothing was halted" in done.err)
    assert 0 == customer.run("resume", "--client", "notebook", "--reason", "all clear").code
    assert "Halted" not in customer.run("status").output


@pytest.mark.parametrize(
    "arguments",
    [("resume",), ("resume", "--reason", " "), ("resume", "alpaca", "--all", "--reason", "a"), ("halt", "a", "b")],
    ids=" ".join,
)
def test_wrong_use(arguments: tuple[str, ...]) -> None:
    """Seen before anything is opened."""
    assert 2 == invoke(*arguments).exit_code


def test_who_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name and a machine, in one line; behind sudo the person who called it."""
    monkeypatch.setenv("SUDO_USER", "anna\n" + "x" * 80)
    name = halt.whoami()
    assert name.startswith("anna?xxx")
    assert 60 == len(name)
