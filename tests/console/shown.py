"""A server's status as the console gets it, for tests to vary."""

from typing import Any

NOW = 1_793_700_000.0
HOUR = 3600.0


def mount(name: str = "questrade", **changes: Any) -> dict[str, Any]:
    """A mount that serves, with `changes`."""
    return {
        "name": name,
        "broker": "questrade",
        "api": "main",
        "title": "Questrade",
        "environment": "practice",
        "scopes": ["read_acc", "read_md"],
        "grant": name,
        "url": f"http://127.0.0.1:8080/{name}",
        "root_url": None,
        "state": "fresh",
        "usable": True,
        "reason": "",
        "fix": None,
        "since": NOW - 3 * HOUR,
        "generation": 7,
        "api_host": "api01.iq.questrade.com",
        "access_expires": NOW + 1800,
        "next_renewal": NOW + 1440,
        "refreshed": NOW - 60,
        "dies": NOW + 72 * HOUR,
        "login": "refresh-token",
        "login_kind": "refresh-token",
        "login_here": False,
        "granted": [],
        "missing": [],
        "ends": None,
        "warning": None,
        "calls": 1840,
        "denied": 2,
        "last_call": NOW - 12,
        "members": {"total": 0, "states": {}, "reading": False, "needing": []},
        "rates": [],
    } | changes


def status(*mounts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A server with these mounts and one client, with `changes`."""
    return {
        "schema": 1,
        "version": "0.1.0",
        "pid": 4711,
        "workers": [],
        "url": "http://127.0.0.1:8080",
        "urls": ["http://127.0.0.1:8080"],
        "console": "http://127.0.0.1:8081/",
        "started": NOW - 3 * HOUR,
        "now": NOW,
        "store": "sqlite:/home/ada/store.db",
        "config": "/home/ada/config.yaml",
        "config_changed": False,
        "open_to_all": False,
        "draining": False,
        "ready": "ok",
        "warnings": [],
        "halts": [],
        "mounts": list(mounts),
        "clients": [
            {
                "name": "notebook",
                "keys": 1,
                "last_use": None,
                "rights": {"questrade": ["read_acc", "read_md"]},
                "in_config": True,
            }
        ],
    } | changes
