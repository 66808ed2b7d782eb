"""The `guards:` of a mount and of a client, as they are written."""

from typing import Any

import pytest

from proxy.config.guards import Guards
from tests.config.conftest import LoadText

HOURS = "{open: 09:30, close: '16:00', zone: America/New_York}"
TEXT = """
mounts:
  desk: {broker: questrade, environment: live, scopes: [trade], guards: GUARDS}
clients:
  bot: {desk: {scopes: [trade], guards: GUARDS}}
  notebook: {desk: [trade]}
"""


def found(load_text: LoadText, guards: str, **environ: str) -> tuple[Guards, ...]:
    """Those of the mount and of the client."""
    config = load_text(TEXT.replace("GUARDS", guards), **environ).require()
    return tuple(section for _, _, section in config.guards)


@pytest.mark.parametrize(
    ("written", "key", "value"),
    [
        ("{symbols: [AAPL, '8049']}", "symbols", ("AAPL", "8049")),
        ("{accounts: ['01234567']}", "accounts", ("01234567",)),
        ("{max_quantity: 10}", "max_quantity", "10"),
        ("{max_quantity: '10.50'}", "max_quantity", "10.50"),
        ("{max_quantity: 0}", "max_quantity", "0"),
        ("{max_notional: 0.1}", "max_notional", "0.1"),
        ("{max_notional: 123456789012345}", "max_notional", "123456789012345"),
        ("{orders_per_minute: 1}", "orders_per_minute", 1),
        ("{}", "symbols", None),
    ],
    ids=["symbols", "accounts", "whole", "as text", "nothing at all", "a fraction", "the most", "per minute", "empty"],
)
def test_what_is_written_counts_exactly(load_text: LoadText, written: str, key: str, value: Any) -> None:
    """Numbers keep their digits, texts their zeros; on the mount and on the client."""
    assert [value, value] == [getattr(each, key) for each in found(load_text, written)]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{accounts: [26598145]}", "accounts.0: must be text, not a number, put it in quotes"),
        ("{accounts: '1'}", "accounts: must be a list, not text, write it in square brackets: [a, b]"),
        ("{symbols: []}", "symbols: is empty, so that every order would be refused, name at least one"),
        ("{sides: ['']}", "sides.0: is empty, give it a value or remove the key"),
        ("{max_quantity: -1}", "max_quantity: must be a number of 0 or more, write digits"),
        ("{max_quantity: true}", "max_quantity: must be a number of 0 or more, write digits"),
        ("{max_quantity: 1e5}", "max_quantity: must be a number of 0 or more, write digits"),
        ("{max_notional: 1234567890123456}", "max_notional: must be a number of 0 or more, write digits"),
        ("{max_notional: 0.0000000001}", "max_notional: must be a number of 0 or more, write digits"),
        ("{max_notional: [5]}", "max_notional: must be a number of 0 or more, write digits"),
        ("{orders_per_minute: 0}", "orders_per_minute: is too small, write 1 or more"),
        ("{orders_per_minute: 2.5}", "orders_per_minute: must be a whole number, not"),
        ("{max_quantiti: 5}", "max_quantiti: unknown key 'max_quantiti', did you mean 'max_quantity'?"),
        (HOURS.replace("09:30", "9:30").join(["{hours: ", "}"]), "hours.open: is no time of a day, write HH:MM"),
        (HOURS.replace("09:30", "24:00").join(["{hours: ", "}"]), "hours.open: is no time of a day, write HH:MM"),
        (HOURS.replace("16:00", "24:01").join(["{hours: ", "}"]), "hours.close: is no time of a day, write HH:MM"),
        (HOURS.replace("/New_York", "/Nowhere").join(["{hours: ", "}"]), "hours.zone: is no IANA time zone, write one"),
        (HOURS.replace("America", "../America").join(["{hours: ", "}"]), "hours.zone: is no IANA time zone, write one"),
        (HOURS.replace("{", "{days: [], ").join(["{hours: ", "}"]), "hours.days: is empty"),
        (HOURS.replace("{", "{days: [monday], ").join(["{hours: ", "}"]), "hours.days.0: is not one of mon, tue, wed"),
        ("{hours: {open: 09:30}}", "hours.close: is missing, add `close: …`"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_at_both_places(load_text: LoadText, written: str, expected: str) -> None:
    """With its path, and what to write instead."""
    texts = [problem.text for problem in load_text(TEXT.replace("GUARDS", written)).problems]
    for place in ("mounts.desk.guards", "clients.bot.desk.guards"):
        assert any(text.startswith(f"{place}.{expected}") for text in texts), texts


def test_hours_may_end_at_midnight_and_have_days(load_text: LoadText) -> None:
    """Monday to Friday unless it is said."""
    hours = found(load_text, f"{{hours: {HOURS.replace('16:00', '24:00')}}}")[0].hours
    assert hours is not None
    assert ("09:30", "24:00", ("mon", "tue", "wed", "thu", "fri")) == (hours.open, hours.close, hours.days)


def test_rights_are_the_same_however_they_are_written(load_text: LoadText) -> None:
    """A list of scopes, or a mapping with scopes and guards."""
    config = load_text(TEXT.replace("GUARDS", "{}")).require()
    assert {"bot": {"desk": ("trade",)}, "notebook": {"desk": ("trade",)}} == config.rights
    assert {} == load_text("clients: none\n").require().rights
    paths = [(path, mount) for path, mount, _ in config.guards]
    assert [(("mounts", "desk", "guards"), "desk"), (("clients", "bot", "desk", "guards"), "desk")] == paths


def test_a_client_with_guards_stays_within_its_mount(load_text: LoadText) -> None:
    """Its scopes are checked wherever they are written."""
    text = TEXT.replace("GUARDS", "{}").replace("{scopes: [trade], guards: {}}}", "{scopes: [read_md]}}")
    problems = [problem.text for problem in load_text(text).problems]
    assert [
        "clients.bot.desk.scopes.0: scope 'read_md' is not among mounts.desk.scopes, add it there or remove it here"
    ] == problems


def test_the_environment_sets_guards_too(load_text: LoadText) -> None:
    """As any other single value."""
    environ = {"BEARERD_MOUNTS__DESK__GUARDS__MAX_QUANTITY": "7", "BEARERD_MOUNTS__DESK__GUARDS__SYMBOLS": "8049, 9292"}
    mount, client = found(load_text, "{}", **environ)
    assert ("7", ("8049", "9292")) == (mount.max_quantity, mount.symbols)
    assert None is client.max_quantity


def test_what_is_in_force_can_be_read_back(load_text: LoadText) -> None:
    """`config show` writes what loads as the same."""
    config = load_text(TEXT.replace("GUARDS", f"{{max_notional: 0.10, accounts: ['01'], hours: {HOURS}}}")).require()
    again = load_text(config.to_yaml()).require()
    assert config.effective() == again.effective()
    assert "01" == again.effective()["mounts"]["desk"]["guards"]["accounts"][0]
