"""Halts, decided: which calls a halt stops, what outlives it, and what the refusal says."""

from dataclasses import replace
from typing import Any

import pytest

from proxy.brokers import builtin, builtin_names
from proxy.errors import Refusal
from proxy.gate.halt import EVERYTHING, Halt, Known, about, check, read, resume_command, text_fault, told
from proxy.gate.orderrule import Kind, OrderRule
from proxy.gate.rows import Row

SINCE = 1_795_359_785.0  # 2026-11-22 15:03:05 UTC


def row(kind: Kind | None = "place", *, scope: str = "trade", mutating: bool = True) -> Row:
    order = None if kind is None else OrderRule(kind)
    return Row("r", "POST", "/v1/orders", scope, mutating=mutating, order=order)


def halt(mount: str | None = None, scope: str | None = None, client: str | None = None, **more: Any) -> Halt:
    return replace(Halt(mount, scope, client, False, "anna@desk", SINCE, "fat finger"), **more)


def refused(known: Known, called: Row, *, mount: str = "alpaca", client: str = "bot") -> Refusal | None:
    try:
        check(known, mount=mount, client=client, row=called)
    except Refusal as refusal:
        return refusal
    return None


def every_row() -> list[Row]:
    """Of all built-in brokers."""
    return [each for name in builtin_names() for api in builtin(name).apis.values() for each in api.table.rows]


@pytest.mark.parametrize(
    ("where", "stops"),
    [
        ((None, None, None), True),
        (("alpaca", None, None), True),
        (("alpaca", "trade", "bot"), True),
        ((None, "trade", None), True),
        ((None, None, "bot"), True),
        (("questrade", None, None), False),
        (("alpaca", "data", None), False),
        (("alpaca", "trade", "other"), False),
        (("questrade", "trade", "bot"), False),
    ],
)
def test_a_halt_stops_what_it_names(where: tuple[str | None, str | None, str | None], stops: bool) -> None:
    """Mount, scope and client must all fit; what is not named is every one."""
    assert stops is (refused(Known((halt(*where),)), row()) is not None)


@pytest.mark.parametrize(
    ("called", "plain", "cancels_too"),
    [
        (row("place"), True, True),
        (row("change"), True, True),
        (row("lower"), False, True),
        (row(None), True, True),
        (row(None, mutating=False), False, False),
    ],
    ids=["place", "change", "lower", "another change", "read"],
)
def test_what_lowers_risk_outlives_a_halt(called: Row, plain: bool, cancels_too: bool) -> None:
    """Unless the halt says otherwise. Reads always pass."""
    assert plain is (refused(Known((halt(),)), called) is not None)
    assert cancels_too is (refused(Known((halt(cancels_too=True),)), called) is not None)


def test_every_cancel_of_the_built_in_brokers_outlives_a_halt() -> None:
    """Each DELETE of an order is a row that lowers risk; everything else that changes something is stopped."""
    known = Known((halt(),))
    for each in every_row():
        lowers = each.order is not None and each.order.kind == "lower"
        assert lowers or each.method != "DELETE" or "/orders" not in each.path, each.id
        assert (refused(known, each) is None) == (lowers or not each.mutating), each.id


def test_nothing_that_changes_something_is_a_stream() -> None:
    """So an open stream can carry no order past a halt, and a halt need not cut any."""
    assert [] == [each.id for each in every_row() if each.mutating and (each.streaming or each.websocket)]


def test_the_refusal_says_who_when_why_and_what_lifts_it() -> None:
    """403, with the resume command as its fix."""
    refusal = refused(Known((halt("alpaca", "trade", "bot"),)), row())
    assert refusal is not None
    assert ("halted", 403, None) == (refusal.kind.name, refusal.kind.status, refusal.retry_after)
    expected = (
        "Halted: the mount alpaca, scope trade, client bot, since 2026-11-22 15:03:05 UTC by anna@desk: fat finger."
    )
    assert expected == refusal.detail
    assert "bearerd resume alpaca --scope trade --client bot --reason TEXT" == refusal.fix


def test_a_halt_of_everything_without_a_reason() -> None:
    """In words, too."""
    found = halt(reason="", cancels_too=True)
    expected = "Halted, cancels too: every mount, since 2026-11-22 15:03:05 UTC by anna@desk: no reason was given."
    assert expected == told(found)
    assert ("every mount", "bearerd resume --reason TEXT") == (about(EVERYTHING), resume_command(EVERYTHING))
    assert "bearerd resume --client bot --reason TEXT" == resume_command((None, None, "bot"))


def test_an_unreadable_record_halts_everything_but_cancels() -> None:
    """And the message says so."""
    known = Known(fault="store.db: record 'halts' is damaged")
    refusal = refused(known, row())
    assert refusal is not None
    assert "can't be read" in refusal.detail
    assert "bearerd resume --all --reason TEXT" == refusal.fix
    assert None is refused(known, row("lower"))
    assert None is refused(known, row(None, mutating=False))


@pytest.mark.parametrize(("silent", "passes"), [(0.0, True), (5.0, True), (5.1, False), (3600.0, False)])
def test_a_silent_store_stops_new_orders_after_five_seconds(silent: float, passes: bool) -> None:
    """503, with Retry-After: nothing was sent. What lowers risk passes, and reads do."""
    known = Known(silent=silent)
    refusal = refused(known, row())
    assert passes is (refusal is None)
    if refusal is not None:
        assert ("store-silent", 503, 1) == (refusal.kind.name, refusal.kind.status, refusal.retry_after)
    assert None is refused(known, row("lower"))
    assert None is refused(known, row(None, mutating=False))


def test_a_known_halt_is_told_before_a_silent_store() -> None:
    """Waiting would not help."""
    refusal = refused(Known((halt(),), silent=60), row())
    assert refusal is not None
    assert "halted" == refusal.kind.name


def test_a_halt_comes_back_from_its_document() -> None:
    """As it was."""
    for each in (halt(), halt("alpaca", "trade", "bot", cancels_too=True, reason="")):
        assert each == read(each.document())


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1}, {"mount": 1}, {"mount": ""}, {"scope": ["trade"]}, {"client": False}, {"cancels_too": 1},
        {"since": "today"}, {"by": None}, {"reason": 7}, {"reason": "x" * 201}, {"by": "a\nb"}, {"reason": "\u2028"},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_halt_is_refused(change: dict[str, Any]) -> None:
    """Nothing of it is guessed: the whole record then counts as unreadable."""
    with pytest.raises(ValueError, match=r"halt|reason|by"):
        read(halt().document() | change)


def test_a_missing_field_is_refused_too() -> None:
    """A halt without its client might be one of everybody."""
    document = halt().document()
    del document["client"]
    with pytest.raises(ValueError, match="other fields"):
        read(document)


def test_only_a_halt_of_cancels_too_is_stronger_than_one_that_is_not() -> None:
    """So a halt never weakens another, and the first of two equal ones stands."""
    weak, strong = halt(), halt(cancels_too=True)
    assert [False, False, True, False] == [
        one.stronger(other) for one, other in ((weak, weak), (weak, strong), (strong, weak), (strong, strong))
    ]


def test_texts_have_a_limit() -> None:
    """200 characters in one line, and the message says which text it is."""
    assert None is text_fault("x" * 200)
    assert "is longer than 200 characters" == text_fault("x" * 201)
    assert "holds a line break or a control character" == text_fault("\n")
    with pytest.raises(ValueError, match=r"^reason is longer"):
        halt(reason="x" * 201)
    with pytest.raises(ValueError, match=r"^by is longer"):
        halt(by="x" * 201)


def test_nothing_is_known_to_be_halted_at_first() -> None:
    """No halt, no fault, no silence."""
    assert Known((), "", 0.0) == Known()
    assert None is refused(Known(), row())


@pytest.mark.parametrize(
    "known", [Known((halt(),)), Known(fault="it is damaged"), Known(silent=6.4)], ids=["halt", "fault", "silence"]
)
def test_each_refusal_names_its_rule(known: Known) -> None:
    """For the audit trail."""
    refusal = refused(known, row())
    assert refusal is not None
    assert "halt" == refusal.rule


def test_a_silence_is_told_in_whole_seconds() -> None:
    """And what it means."""
    refusal = refused(Known(silent=6.4), row())
    assert refusal is not None
    expected = (
        "The store has been silent for 6 s, and another server may have halted this. Nothing was sent; "
        "reads and cancels go on."
    )
    assert expected == refusal.detail
