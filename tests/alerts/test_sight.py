"""What is wrong, seen from how things stand: grants in every state, halts, disk, store, certificate, keys."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from proxy.alerts.notice import Trouble
from proxy.alerts.sight import FAILING, KEYS, UNUSABLE, Observer, Seen
from proxy.alerts.troubles import Sight
from proxy.audit.trail import Standing as TrailStanding
from proxy.clientkey import ClientKey
from proxy.config import load
from proxy.expiry import EARLY
from proxy.gate.halt import Halt
from proxy.tokens.grant import DAY, State
from proxy.tokens.standing import Standing
from tests.alerts.receivers import HandClock
from tests.counting import counted

CONFIG = """
mounts:
  data: {broker: questrade, environment: live, scopes: [read_md], grant: q}
  desk: {broker: questrade, environment: live, scopes: [read_acc], grant: q}
clients: none
"""
NOW = HandClock().now().wall
FRESH = Standing(
    grant="q", broker="questrade", environment="live", login="refresh-token", login_kind="secret", state=State.FRESH,
    reason="", fix=None, since=NOW - 60, usable=True, doubted=False, generation=3, origin=None, granted=(),
    access_expires=NOW + 1700, next_renewal=NOW + 1200, refreshed=NOW - 60, dies=NOW - 60 + 7 * DAY, ends=None,
    warning=None,
)  # fmt: skip
QUIET = TrailStanding(0, 0, 0, "", 0.0)


@dataclass
class Keepers(dict[str, Any]):
    """One grant that stands as it is told, and members in these states."""

    standing: Standing = FRESH
    states: dict[State, int] = field(default_factory=dict)
    still_reading: bool = False

    def values(self) -> Any:
        return [SimpleNamespace(standing=lambda: self.standing)]

    def members(self, _grant: str) -> dict[State, int]:
        return self.states

    def reading(self, _grant: str) -> bool:
        return self.still_reading


@dataclass
class Desk:
    """What an `Observer` looks at."""

    settings: Any
    clock: HandClock = field(default_factory=HandClock)
    keepers: Keepers = field(default_factory=Keepers)
    custody: Any = field(default_factory=lambda: SimpleNamespace(trail=SimpleNamespace(standing=QUIET)))
    keys: Any = field(default_factory=lambda: SimpleNamespace(all=list))
    doors: Any = field(default_factory=lambda: SimpleNamespace(certificates=None))
    halts: Any = field(default_factory=lambda: SimpleNamespace(all=(), fault=""))
    last_problems: list[str] = field(default_factory=list)
    store_fault: str = ""

    def look(self, **opened: Trouble) -> Sight:
        return Observer(cast("Seen", self)).look({trouble.key: trouble for trouble in opened.values()})

    def stands(self, **how: Any) -> Sight:
        self.keepers.standing = replace(FRESH, **how)
        return self.look()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    return Desk(SimpleNamespace(config=load(file, {"HOME": str(tmp_path)}).require()))


def test_a_grant_that_is_well_is_no_trouble(desk: Desk) -> None:
    """And nothing about it is unsure."""
    assert Sight() == desk.look()


@pytest.mark.parametrize(
    ("state", "wrong", "unsure"),
    [
        (State.NONE, {"login-needed"}, set()),
        (State.NEEDS_LOGIN, {"login-needed"}, {"refresh-failing", "refresh-token-half-life", "login-ending"}),
        (State.QUARANTINED, {"login-needed"}, {"refresh-failing", "refresh-token-half-life", "login-ending"}),
        (State.STOPPED, {"refresh-failing"}, {"login-needed"}),
        (State.UNCERTAIN, {"refresh-failing"}, {"login-needed"}),
        (State.DUE, {"refresh-failing"}, {"login-needed"}),
        (State.FRESH, set(), set()),
    ],
    ids=lambda value: value.value if isinstance(value, State) else "",
)
def test_each_state_with_a_reason(state: State, wrong: set[str], unsure: set[str], desk: Desk) -> None:
    """What is wrong then, and what nobody can say: a renewal under way ends no trouble, and a lost login ends none."""
    found = desk.stands(state=state, reason="the broker refused it (400: invalid_grant)")
    assert ({f"{each}/q" for each in wrong}, {f"{each}/q" for each in unsure}) == (set(found.wrong), set(found.unsure))


@pytest.mark.parametrize("state", [State.DUE, State.REDEEMING, State.ANSWERED], ids=lambda state: str(state.value))
def test_a_renewal_on_its_way_is_neither_good_nor_bad(state: State, desk: Desk) -> None:
    """Every half an hour a grant passes these."""
    found = desk.stands(state=state)
    assert (set(), {"login-needed/q", "refresh-failing/q"}) == (set(found.wrong), set(found.unsure))


def test_a_needed_login_says_all_that_a_person_needs(desk: Desk) -> None:
    """Grant, mounts, environment, why, and the command; the broker's words are masked."""
    reason = "the broker refused the refresh token (400: account 26598145)"
    (found,) = desk.stands(state=State.NEEDS_LOGIN, reason=reason, fix="bearerd login q", usable=False).wrong.values()
    assert (
        "q (questrade, live) needs a login: the broker refused the refresh token (400: account ***145)." == found.text
    )
    assert ("bearerd login q", NOW - 60) == (found.fix, found.since)
    assert {
        "grant": "q", "mounts": ["data", "desk"], "broker": "questrade", "environment": "live", "state": "needs-login",
        "reason": "the broker refused the refresh token (400: account ***145)",
    } == found.about  # fmt: skip


def test_a_grant_for_members_needs_no_login_itself(desk: Desk) -> None:
    """As long as the store has not told them all, nobody can say."""
    desk.keepers.states = {State.FRESH: 2}
    assert {} == desk.stands(state=State.NONE, reason="never logged in").wrong
    desk.keepers.states, desk.keepers.still_reading = {}, True
    assert (set(), {"login-needed/q"}) == (set(desk.look().wrong), set(desk.look().unsure))


def test_failing_renewals_are_patient_as_long_as_calls_pass(desk: Desk) -> None:
    """30 s while the token in hand is good, 5 s where it is not, none once it has stopped; getting worse is news."""
    cases = (
        (State.DUE, True, FAILING, "usable"),
        (State.DUE, False, UNUSABLE, "unusable"),
        (State.STOPPED, True, 0.0, "usable"),
    )
    for state, usable, patience, version in cases:
        (found,) = desk.stands(state=state, usable=usable, reason="no answer").wrong.values()
        assert (patience, version) == (found.patience, found.version)
        says = "gets no new token" if usable else "gets no new token, and calls are refused"
        assert f"q (questrade, live) {says}: no answer." == found.text


def test_a_pair_that_may_not_be_served_is_a_failing_renewal(desk: Desk) -> None:
    """Fresh, and still of no use: the broker named a host that is not allowed."""
    assert {"refresh-failing/q"} == set(desk.stands(usable=False, reason="the broker named evil.test").wrong)


def test_failing_renewals_are_over_only_after_one_that_worked(desk: Desk) -> None:
    """A server that was restarted in between has not tried yet, and does not say that all is well."""
    desk.keepers.standing = replace(FRESH, state=State.DUE, reason="no answer", since=NOW - 100)
    known = replace(desk.look().wrong["refresh-failing/q"], restored=True)
    desk.keepers.standing = replace(FRESH, refreshed=NOW - 1500)
    assert {"refresh-failing/q"} == desk.look(known=known).unsure
    assert frozenset() == desk.look(known=replace(known, restored=False)).unsure
    desk.keepers.standing = FRESH
    assert frozenset() == desk.look(known=known).unsure


def test_a_doubted_token_may_need_a_login(desk: Desk) -> None:
    """One that nothing can renew, and that the broker has refused: it may pass, so there is patience."""
    (found,) = desk.stands(doubted=True, reason="the broker refused the token (401)").wrong.values()
    assert ("login-needed", FAILING, "bearerd login q") == (found.event, found.patience, found.fix)


def test_a_refresh_token_past_half_of_its_life(desk: Desk) -> None:
    """Not a second before; where a login ends anyway, that is told instead."""
    refreshed, dies = NOW - 3.5 * DAY, NOW + 3.5 * DAY
    assert {} == desk.stands(refreshed=refreshed + 1, dies=dies + 1).wrong
    (found,) = desk.stands(refreshed=refreshed, dies=dies).wrong.values()
    assert ("refresh-token-half-life", NOW) == (found.event, found.since)
    assert "it was last renewed at 2027-01-11T20:00:00Z and dies at 2027-01-18T20:00:00Z" in found.text
    (ending,) = desk.stands(
        refreshed=refreshed, dies=dies, ends=NOW + 7200, warning="the login ends in 2 h"
    ).wrong.values()
    assert ("login-ending", "q (questrade, live) is logged in until 2027-01-15T10:00:00Z.") == (
        ending.event,
        ending.text,
    )
    assert {} == desk.stands(ends=NOW + 72000).wrong


def test_each_halt_is_a_trouble_of_its_own(desk: Desk) -> None:
    """With who and why; another halt of the same target is news; a record that can't be read too."""
    first = Halt("desk", "trade", None, False, "anna@desk", NOW - 5, "account 26598145 runs wild")
    desk.halts.all = (first, Halt(None, None, None, True, "anna@desk", NOW - 2))
    one, all_ = desk.look().wrong.values()
    assert ("halted/desk:trade:*", "halted/*:*:*") == (one.key, all_.key)
    text = "An operator has halted the mount desk, scope trade: anna@desk, account ***145 runs wild."
    assert (text, "bearerd resume desk --scope trade --reason TEXT") == (one.text, one.fix)
    assert "An operator has halted every mount, cancels too: anna@desk, without a reason." == all_.text
    desk.halts.all = (replace(first, since=NOW),)
    assert one.version != desk.look().wrong[one.key].version
    desk.halts.all, desk.halts.fault = (), "it makes no sense"
    assert {"halted/unreadable"} == set(desk.look().wrong)


def test_the_server_itself(desk: Desk) -> None:
    """A disk, a store, a reload, a certificate: each with the next command."""
    desk.custody.trail.standing = replace(QUIET, fault="No space left on device", since=NOW - 9)
    desk.store_fault, desk.last_problems = "it does not answer", ["the last reload was refused: secret words"]
    desk.doors.certificates = SimpleNamespace(ending=lambda: NOW + DAY)
    found = desk.look().wrong
    assert {
        "audit-failing/trail", "store-down/store", "reload-refused/config", "certificate-expiring/listeners",
    } == set(found)  # fmt: skip
    assert "secret" not in found["reload-refused/config"].text
    flapping = [found[key].calm for key in ("audit-failing/trail", "store-down/store")]
    assert min(flapping) > 1, "a disk that comes and goes would be told of at each look"
    assert all(each.fix for each in found.values())
    desk.doors.certificates = SimpleNamespace(ending=lambda: None)
    assert "certificate-expiring/listeners" not in desk.look().wrong


def test_client_keys_that_end(desk: Desk) -> None:
    """The first of each client's, once a minute; what was replaced, ended long ago or has no end is none."""
    day = 86_400.0

    def key(client: str, number: int, ends: float | None, *, replaced: float | None = None) -> ClientKey:
        return ClientKey(client, number, NOW - 300 * day, "d" * 64, (), ends, replaced)

    kept = [
        key("bot", 1, NOW + day, replaced=NOW), key("bot", 2, NOW + 2 * day), key("bot", 3, NOW + day / 2),
        key("far", 1, NOW + 60 * day), key("free", 1, None), key("old", 1, NOW - EARLY), key("over", 7, NOW - 1),
    ]  # fmt: skip
    desk.keys.all = lambda: kept
    observer = Observer(cast("Seen", desk))
    found = observer.look({}).wrong
    assert {"client-key-expiring/bot", "client-key-expiring/over"} == set(found)
    assert "Key 3 of client bot ends at 2027-01-15T20:00:00Z." == found["client-key-expiring/bot"].text
    kept.clear()
    desk.clock.go(KEYS - 1)
    assert 2 == len(observer.look({}).wrong)
    desk.clock.go(1)
    assert {} == observer.look({}).wrong


def test_a_thousand_lost_logins_are_seen_in_a_moment(desk: Desk, tmp_path: Path) -> None:
    """A look happens each second, beside all calls: it goes through the mounts once, not once for each grant."""
    count = 1000
    mounts = "".join(
        f"  m{number}: {{broker: questrade, environment: live, scopes: [read_md], grant: g{number}}}\n"
        for number in range(count)
    )
    file = tmp_path / "many.yaml"
    file.write_text(f"mounts:\n{mounts}clients: none\n")
    desk.settings.config = load(file, {"HOME": str(tmp_path)}).require()
    lost = [replace(FRESH, grant=f"g{number}", state=State.NEEDS_LOGIN, reason="dead") for number in range(count)]

    class Many(Keepers):
        def values(self) -> Any:
            return [SimpleNamespace(standing=lambda each=each: each) for each in lost]

    desk.keepers = Many()
    with counted() as calls:
        found = desk.look()
    assert [["m0"], ["m999"]] == [found.wrong[f"login-needed/g{number}"].about["mounts"] for number in (0, 999)]
    assert (count, calls.python < 60 * count) == (len(found.wrong), True)
