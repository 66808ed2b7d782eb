"""`bearerd status`, from a status document to lines and exit code."""

from typing import Any

from proxy import __version__
from proxy.cli.exits import Exit
from proxy.cli.output import Style
from proxy.cli.status import exit_code, render, rights_text, token_state
from tests.cli.support import Person

NOW = 1_795_252_440.0
MOUNT = {
    "name": "questrade", "broker": "questrade", "environment": "live", "scopes": ["read_acc"], "grant": "questrade",
    "url": "http://127.0.0.1:8080/questrade", "state": "fresh", "usable": True, "reason": "", "fix": None, "since": NOW,
    "api_host": "api01.iq.questrade.com", "next_renewal": NOW + 1450, "calls": 1840, "denied": 2, "last_call": NOW - 12,
    "login": "refresh-token", "granted": [], "missing": [], "ends": None, "warning": None, "dies": NOW + 230_000,
    "members": {"total": 0, "states": {}, "reading": False, "needing": []}, "rates": [],
}  # fmt: skip
DEAD = MOUNT | {
    "name": "spouse", "grant": "spouse", "state": "needs-login", "usable": False, "next_renewal": None, "calls": 31,
    "reason": "the broker refused the refresh token", "fix": "bearerd login spouse", "last_call": None,
}  # fmt: skip


def found(*mounts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "version": __version__, "pid": 4711, "url": "http://127.0.0.1:8080", "console": None, "started": NOW - 11520,
        "now": NOW, "store": "sqlite:/var/lib/bearerd/store.db", "draining": False, "warnings": [],
        "halts": [],
        "mounts": list(mounts), "clients": [
            {"name": "notebook", "keys": 1, "last_use": NOW - 12, "rights": {"questrade": ["read_acc"]},
             "in_config": True}
        ],
    } | more  # fmt: skip


def shown(document: dict[str, Any]) -> str:
    return "\n".join(render(document, Style(colored=False)))


def test_a_healthy_server_is_one_line_a_mount() -> None:
    """Version, address, how long; token, last call and counts in columns."""
    text = shown(found(MOUNT))

    assert f"bearerd {__version__} · http://127.0.0.1:8080 · up 3h12m · pid 4711" in text
    assert "✓ questrade  live  fresh, refreshes in 24m  12 s ago   1840   2" in text
    assert "✓ notebook  1     12 s ago   questrade: read_acc" in text


def test_an_address_with_tls_stands_beside_the_plain_one() -> None:
    """Once, where it is the only one."""
    secure = "https://127.0.0.1:8443"
    assert f" · http://127.0.0.1:8080 and {secure} · up" in shown(found(MOUNT, secure_url=secure))
    assert f" · {secure} · up" in shown(found(MOUNT, url=secure, secure_url=secure))


def test_a_dead_grant_shows_the_next_command() -> None:
    """Since when, why, and what to type; the exit code is 4."""
    text = shown(found(MOUNT, DEAD))

    assert "login needed since 2026-11-21" in text
    assert "✗ spouse: the broker refused the refresh token. To fix: bearerd login spouse" in text
    assert Exit.LOGIN is exit_code(found(MOUNT, DEAD))
    assert Exit.OK is exit_code(found(MOUNT))


def test_mounts_that_share_a_grant_report_it_once() -> None:
    """One login, one line."""
    assert 1 == shown(found(DEAD, DEAD | {"name": "spouse-data"})).count("To fix")


def test_clients_without_key_or_rights_are_pointed_out() -> None:
    """Both are mistakes that a person would look for elsewhere."""
    clients = [
        {"name": "bot", "keys": 0, "last_use": None, "rights": {"questrade": ["trade"]}, "in_config": True},
        {"name": "old", "keys": 1, "last_use": None, "rights": None, "in_config": False},
    ]
    text = shown(found(MOUNT, clients=clients))

    assert "To make one: bearerd clients add bot" in text
    assert "! old     1     never      none: not in the configuration" in text


def test_a_rate_limit_that_is_used_up_is_shown() -> None:
    """What is left, who waits, until when; of a category with room nothing is said."""
    calm = {"category": "account", "limit": 200, "remaining": 7, "seconds": 40.0, "closed": 0.0, "waiting": 0}
    used = calm | {"category": "market", "remaining": 0, "waiting": 3}
    closed = calm | {"category": "orders", "limit": None, "remaining": None, "seconds": None, "closed": 90.0}
    text = shown(found(MOUNT | {"rates": [calm, used, closed]}))

    assert "! questrade: calls of the category market: 0 of 200 calls left, 3 waiting, more in 40 s" in text
    assert "! questrade: calls of the category orders: the broker refuses more, more in 1m" in text
    assert "category account" not in text


def test_warnings_and_a_stop_are_shown() -> None:
    """Whatever the server warns of, in its own words."""
    text = shown(found(MOUNT, warnings=["clients: none: any program may call"], draining=True))

    assert "! clients: none: any program may call" in text
    assert "! the server is shutting down" in text


def test_a_server_of_another_version_is_pointed_out() -> None:
    """After an upgrade the old program serves on until it is restarted."""
    told = f"! the server is bearerd 0.0.9, and this command is bearerd {__version__}. To fix: restart the server"
    assert told in shown(found(MOUNT, version="0.0.9"))
    assert "restart" not in shown(found(MOUNT))


def test_a_grant_that_never_logged_in() -> None:
    """No date, since there was never a login."""
    assert "login needed" == token_state(MOUNT | {"state": "none"}, NOW)


def test_a_login_that_ends_says_when() -> None:
    """In the row, and as a thing to do once that is near; so is a scope that it did not bring."""
    ending = MOUNT | {
        "next_renewal": None,
        "ends": NOW + 7200,
        "warning": "the login ends in 2 h; before that: bearerd login",
    }
    text = shown(found(ending))
    assert "! questrade  live  fresh, ends in 2h00m" in text
    assert "! questrade: the login ends in 2 h; before that: bearerd login" in text

    text = shown(found(MOUNT | {"missing": ["trade"]}))
    assert "! questrade: the login lacks the scope trade. To fix: bearerd login questrade" in text


def test_a_token_without_an_end_is_just_fresh() -> None:
    """There is nothing to count down."""
    assert "fresh" == token_state(MOUNT | {"next_renewal": None}, NOW)


def test_how_a_grant_was_logged_in_is_shown_on_request() -> None:
    """With the scopes that the broker granted."""
    lines = render(found(MOUNT | {"granted": ["read_acc"]}), Style(colored=False), verbose=True)

    assert "(login refresh-token, granted: read_acc)" in "\n".join(lines)


def test_a_host_that_no_answer_has_named_yet() -> None:
    """Before the first login of a broker whose API moves."""
    lines = render(found(MOUNT | {"api_host": None}), Style(colored=False), verbose=True)

    assert "/questrade → not known yet (login" in "\n".join(lines)


def test_rights_of_a_client_that_may_do_nothing() -> None:
    """An empty mapping is not the same as none at all."""
    assert "none" == rights_text({})


def test_the_status_of_a_real_server(customer: Person) -> None:
    """Needs a login at first: 4, as text and as data."""
    customer.serve()
    text, data = customer.run("status"), customer.run("status", "--json")

    assert (4, 4) == (text.code, data.code)
    assert "To fix: bearerd login questrade" in text.out
    assert (1, "none") == (data.document["schema"], data.document["mounts"][0]["state"])


def test_a_quarantined_grant_is_seen() -> None:
    """Since when and why, and the two ways out; scripts see it as they see a login that is needed."""
    fix = "bearerd adopt spouse, or bearerd login spouse"
    grant = DEAD | {"state": "quarantined", "usable": True, "reason": "the store was set back", "fix": fix}
    text = shown(found(grant))

    assert "quarantined since 2026-11-21" in text
    assert f"! spouse: the store was set back. To fix: {fix}" in text
    assert Exit.LOGIN is exit_code(found(grant))


def test_the_end_of_a_refresh_token_is_told_on_request() -> None:
    """With -v: when the login is lost if nothing is renewed any more."""
    text = "\n".join(render(found(MOUNT), Style(colored=False), verbose=True))

    assert "; without a renewal the login is lost in 2d15h" in text


def test_members_are_counted_and_those_that_need_somebody_are_named() -> None:
    """A grant that only has members needs no login of its own."""
    needing = [{"grant": "questrade/user-17", "state": "needs-login", "fix": "bearerd login questrade/user-17"}]
    members = {"total": 12, "states": {"fresh": 11, "needs-login": 1}, "reading": False, "needing": needing}
    shared = MOUNT | {"state": "none", "usable": False, "reason": "never logged in", "members": members}
    text = shown(found(shared))

    assert "questrade: 12 members: 11 fresh, 1 needs-login" in text
    assert "questrade/user-17: needs-login. To fix: bearerd login questrade/user-17" in text
    assert ("never logged in" in text, "login needed" in text) == (False, False)
    assert Exit.OK is exit_code(found(shared))
    revoked = shared | {"members": members | {"total": 1, "states": {"none": 1}, "needing": []}}
    assert "login needed" in shown(found(revoked))
    assert Exit.LOGIN is exit_code(found(revoked))
    reading = shared | {"members": members | {"total": 1, "states": {"fresh": 1}, "needing": [], "reading": True}}
    assert "1 member: 1 fresh, and the store has not told all yet" in shown(found(reading))


def test_the_workers_of_a_server_of_several_processes_are_listed() -> None:
    """Process, since when, calls in flight, and how often it was started again; one that is not there yet is marked."""
    worker = {"number": 1, "pid": 4712, "ready": True, "since": NOW - 7200, "in_flight": 3, "restarts": 0}
    new = worker | {"number": 2, "pid": 4790, "ready": False, "since": NOW - 1, "in_flight": 0, "restarts": 2}
    text = shown(found(MOUNT, workers=[worker, new]))
    assert "WORKER  PID   UP     IN FLIGHT  RESTARTS" in text
    assert "✓ 1       4712  2h00m  3          0" in text
    assert "! 2       4790  1 s    0          2" in text
    assert "WORKER" not in shown(found(MOUNT, workers=[]))
