"""How a running server stands, as the command line and the console are told."""

from pathlib import Path
from typing import Any

from proxy.admin import call
from tests.house import House, house

MOUNT_FIELDS = {
    "name", "title", "scopes", "url", "root_url", "calls", "denied", "last_call", "grant", "broker", "environment",
    "state", "usable", "reason", "fix", "since", "generation", "api_host", "access_expires", "next_renewal",
    "refreshed", "dies", "login", "login_kind", "login_here", "granted", "missing", "ends", "warning", "members",
    "rates", "api",
}  # fmt: skip
STATUS_FIELDS = {
    "schema", "version", "pid", "workers", "url", "urls", "secure_url", "console", "started", "now", "store", "config",
    "config_changed", "streams", "open_to_all", "draining", "ready", "warnings", "halts", "mounts", "clients",
    "audit", "alerts",
}  # fmt: skip


async def ask(home: House, command: str, **params: Any) -> dict[str, Any]:
    return await call(home.file.parent / "admin.sock", command, params, timeout=10)


async def test_status_tells_how_everything_stands(state_dir: Path) -> None:
    """Every field is there, and no secret in any."""
    async with house(state_dir) as home:
        await home.call("GET", "/questrade/v1/accounts")
        await home.call("GET", "/questrade/v1/none")
        status = await ask(home, "status")
        (mount,), (client,) = status["mounts"], status["clients"]

        assert STATUS_FIELDS == status.keys()
        assert MOUNT_FIELDS == mount.keys()
        assert (1, "ok", False, False, []) == tuple(
            status[name] for name in ("schema", "ready", "open_to_all", "draining", "warnings")
        )
        assert (f"http://127.0.0.1:{home.port}", f"http://127.0.0.1:{home.port}/questrade", None) == (
            status["url"], mount["url"], mount["root_url"],
        )  # fmt: skip
        assert ("questrade", "simulator", "fresh", True, 1, 2, 1) == tuple(
            mount[name] for name in ("broker", "environment", "state", "usable", "generation", "calls", "denied")
        )
        assert mount["refreshed"] < mount["last_call"] < mount["next_renewal"] < mount["access_expires"] < mount["dies"]
        assert mount["refreshed"] < client["last_use"] <= mount["last_call"]
        assert {
            "name": "bot",
            "keys": 1,
            "bound": 0,
            "next_end": None,
            "last_use": client["last_use"],
            "in_config": True,
            "rights": {"questrade": ["read_acc", "read_md", "trade"]},
        } == client
        for secret in (home.key, home.simulator.links().refresh_token or "-"):
            assert secret not in str(status)


async def test_readiness_is_one_word_and_a_line_for_each_thing(state_dir: Path) -> None:
    """Before a login, after it, and while it stops."""
    async with house(state_dir, login=False) as home:
        before = await ask(home, "ready")
        assert "needs-login" == before["ready"]
        assert ["[+]store ok", "[-]grant questrade none: never logged in"] == before["lines"]

        await ask(home, "login", mount="questrade", token=home.simulator.links().refresh_token)
        assert {"ready": "ok", "lines": ["[+]store ok", "[+]grant questrade fresh"]} == await ask(home, "ready")

        await home.app.stop()
        assert "draining" == home.app.operations.ready()[0]
