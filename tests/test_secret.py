"""A secret shows itself on demand only, and the log redactor hears of each."""

import copy
import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from proxy import secret
from proxy.secret import Secret, on_new_secret


@dataclass(frozen=True, slots=True)
class Holder:
    """Something that holds one."""

    token: Secret


CANARY = "canary-7f3a"


@pytest.fixture
def heard() -> Iterator[list[str]]:
    heard: list[str] = []
    on_new_secret(heard.append)
    yield heard
    secret._listeners.remove(heard.append)


@pytest.mark.parametrize(
    "shown",
    [
        repr(Secret(CANARY)), str(Secret(CANARY)), f"{Secret(CANARY)}", f"{Secret(CANARY):>40}", f"{Secret(CANARY)!r}",
        "%s %r" % (Secret(CANARY), Secret(CANARY)), "{0}".format(Secret(CANARY)), repr([Secret(CANARY)]),  # noqa: UP030, UP031, UP032
        repr(Holder(Secret(CANARY))), str({"token": Secret(CANARY)}), repr(Exception(Secret(CANARY))),
    ],
)  # fmt: skip
def test_no_way_of_making_text_shows_it(shown: str) -> None:
    """Neither alone nor inside something else."""
    assert CANARY not in shown
    assert "***" in shown


def test_it_is_revealed_on_demand() -> None:
    """Whole and unchanged."""
    assert CANARY == Secret(CANARY).reveal()


def test_it_cannot_be_serialised() -> None:
    """Neither pickled nor dumped as JSON."""
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(CANARY))
    with pytest.raises(TypeError):
        json.dumps({"token": Secret(CANARY)})


def test_it_has_no_attributes_to_look_into() -> None:
    """`vars` finds nothing, and nothing can be added."""
    with pytest.raises(TypeError):
        vars(Secret(CANARY))
    with pytest.raises(AttributeError):
        Secret(CANARY).note = CANARY  # type: ignore[attr-defined]


def test_a_copy_is_the_same() -> None:
    """So that values which hold one can be copied."""
    one = Secret(CANARY)

    assert (one, one) == (copy.copy(one), copy.deepcopy([one])[0])


def test_two_of_the_same_text_are_equal() -> None:
    """And nothing else equals one: not its text."""
    assert Secret(CANARY) == Secret(CANARY)
    assert 1 == len({Secret(CANARY), Secret(CANARY)})
    assert Secret(CANARY) != Secret("other")
    assert Secret(CANARY) != CANARY
    assert [True, False] == [bool(Secret(text)) for text in (CANARY, "")]


def test_listeners_hear_of_every_new_secret_once(heard: list[str]) -> None:
    """However often they asked to."""
    on_new_secret(heard.append)
    Secret(CANARY)
    Secret("other")

    assert [CANARY, "other"] == heard
