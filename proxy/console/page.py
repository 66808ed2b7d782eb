"""The console's pages: a status as `bearerd status --json` prints it → HTML. No clock, no socket.

Everything that comes from elsewhere (a broker's words, names from the configuration) is escaped by the templates, and
free text is masked first: secrets that the log's redactor knows or recognises, and account numbers.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from proxy import logs
from proxy.spans import clock_time, span

# A word with five digits in a row and at least six characters: 26598145, VA12345678. A port is shorter.
_ACCOUNT = re.compile(r"\b(?=\w*[0-9]{5})\w{3,}(?=\w{3}\b)", re.ASCII)


class Pages:
    """All pages, compiled. Making one reads files."""

    def __init__(self) -> None:
        from jinja2 import Environment, FunctionLoader, StrictUndefined

        folder = resources.files("proxy.console") / "templates"
        environment = Environment(
            loader=FunctionLoader(lambda name: (folder / name).read_text("utf-8")),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= FILTERS
        environment.get_template("frame.html.j2")  # or it would be read when the first page is made
        self.css = (folder / "console.css").read_bytes()
        self._status = environment.get_template("status.html.j2")
        self._done = environment.get_template("done.html.j2")
        self._leaving = environment.get_template("leaving.html.j2")
        self._closed = environment.get_template("closed.html.j2")

    def status(self, status: Mapping[str, Any], *, paused: bool = False, csrf: str = "") -> str:
        """The status page. `paused` says that it will not come anew by itself; `csrf` goes with each button."""
        return self._status.render(status, paused=paused, needs=needs(status), csrf=csrf)

    def done(self, grant: str | None, standing: Mapping[str, Any] | None, problem: str) -> str:
        """What came of a login over the broker's page: a standing as `shown` gives it, or a problem."""
        return self._done.render(grant=grant, standing=standing, problem=problem)

    def leaving(self, grant: str) -> str:
        """What stands there for the moment until the broker's page comes."""
        return self._leaving.render(grant=grant)

    def closed(self) -> str:
        """What somebody sees who may not see the status."""
        return self._closed.render()


def needs(status: Mapping[str, Any]) -> list[dict[str, str | None]]:
    """What a person should do: a sentence and the command for each halt and each mount that has a fix, then warnings.

    `login` is the grant that a button here can log in.
    """
    grants: dict[str, dict[str, str | None]] = {}
    for mount in status["mounts"]:
        why = mount["warning"] or mount["reason"]
        for member in mount["members"]["needing"]:
            what = f"{mount['title']} ({member['grant']}): {member['state']}"
            grants.setdefault(member["grant"], {"what": what, "fix": member["fix"], "login": None})
        if (mount["fix"] or mount["warning"] or mount["missing"]) and not for_members(mount):
            # Mounts that share a grant need one login, not several.
            lacks = f"the login lacks the scope {', '.join(mount['missing'])}" if mount["missing"] else ""
            what = f"{mount['title']} ({mount['grant']}): {why or lacks or mount['state']}"
            fix = mount["fix"] or (
                None if mount["warning"] else f"bearerd login {mount['grant']}"
            )  # a warning names it
            login = mount["grant"] if mount["login_here"] else None
            grants.setdefault(mount["grant"], {"what": what, "fix": fix, "login": login})
    halts = [{"what": halt["text"], "fix": halt["resume"], "login": None} for halt in status["halts"]]
    warnings = [{"what": warning, "fix": None, "login": None} for warning in status["warnings"]]
    return [*halts, *grants.values(), *warnings]


def masked(text: str) -> str:
    """Free text without secrets; of an account number the last three digits stay."""
    return _ACCOUNT.sub("…", logs.redact(text))


def iso(unix: float) -> str:
    """A point in time for machines: `2026-11-03T14:14:05+00:00`."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="seconds")


def for_members(mount: Mapping[str, Any]) -> bool:
    """Whether it serves members only: then nobody has to log in for all."""
    return mount["state"] == "none" and any(state != "none" for state in mount["members"]["states"])


def sign(mount: Mapping[str, Any]) -> str:
    """✓ serves and nothing is to be done · ! serves, but see why, or members only · ✗ does not serve."""
    if not mount["usable"]:
        return "!" if for_members(mount) else "✗"
    return "!" if mount["fix"] or mount["warning"] or mount["missing"] else "✓"


FILTERS = {"masked": masked, "redacted": logs.redact, "span": span, "clock": clock_time, "iso": iso, "sign": sign} | {
    "for_members": for_members
}
