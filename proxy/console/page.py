"""The console's pages: a status as `bearerd status --json` prints it → HTML. No clock, no socket.

Everything that comes from elsewhere (a broker's words, names from the configuration) is escaped by the templates, and
free text is masked first: secrets that the log's redactor knows or recognises, and account numbers.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Any
from urllib.parse import urlencode

from proxy import logs
from proxy.spans import clock_time, daytime, span, zone

# A word with five digits in a row and at least six characters: 26598145, VA12345678. A port is shorter.
_ACCOUNT = re.compile(r"\b(?=\w*[0-9]{5})\w{3,}(?=\w{3}\b)", re.ASCII)
# What would turn the words behind it around, or acts on a terminal that it is copied to.
_STEERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_TO_LOAD = "To load: bearerd reload"
_TO_RESUME = "bearerd resume --all --reason TEXT"
# What comes anew while a page is open: the ids of its parts, and their templates.
PARTS = {
    "top": "top",
    "needs": "needs",
    "grants": "grants",
    "clients": "clients",
    "charts": "charts",
    "recent-rows": "recentrows",
}
ONCE = ("done", "paused")  # of an address: not for the links on its page
MOST_CLIENTS = 100  # that are listed on a page, or to choose from; of more, people ask by name


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
            auto_reload=False,
        )
        environment.filters |= FILTERS
        environment.globals |= {"still": False, "csrf": "", "notice": None, "most_clients": MOST_CLIENTS}
        names = [entry.name for entry in folder.iterdir() if entry.name.endswith(".html.j2")]
        # All of them now: what is extended or included would be read when the first page is made.
        self._templates = {name.removesuffix(".html.j2"): environment.get_template(name) for name in names}
        self.css = (folder / "console.css").read_bytes()
        self.js = (folder / "console.js").read_bytes()

    def status(self, shown: Mapping[str, Any]) -> str:
        """The page itself. `shown`: see `context`."""
        return self._templates["status"].render(shown)

    def parts(self, shown: Mapping[str, Any]) -> dict[str, str]:
        """Those parts of it that change, by id. They hold no form token, and no span of time in words."""
        still = {**shown, "still": True}
        return {name: self._templates[template].render(still) for name, template in PARTS.items()}

    def form(self, name: str, shown: Mapping[str, Any]) -> str:
        """The page with one form."""
        return self._templates[name].render(shown)

    def key(self, made: Mapping[str, Any] | None, status: Mapping[str, Any], csrf: str) -> str:
        """A new client key, this once; None: it has been shown."""
        return self._templates["key"].render(status=status, made=made, csrf=csrf)

    def done(
        self, grant: str | None, standing: Mapping[str, Any] | None, problem: str, *, home: str | None = None
    ) -> str:
        """What came of a login over the broker's page: a standing as `shown` gives it, or a problem.

        `home` is where the console's page is, if the browser may have come from there.
        """
        return self._templates["done"].render(grant=grant, standing=standing, problem=problem, home=home)

    def leaving(self, grant: str) -> str:
        """What stands there for the moment until the broker's page comes."""
        return self._templates["leaving"].render(grant=grant)

    def closed(self, *, left: bool = False) -> str:
        """What somebody sees who may not see the status; `left`: who has just logged out."""
        return self._templates["closed"].render(left=left)

    def refused(self, why: str, home: str) -> str:
        """A form that is not taken; nothing was done."""
        return self._templates["refused"].render(why=why, home=home)


def context(status: Mapping[str, Any], query: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """What the templates are given: the status, also by its fields, what is to be done, and the address's query."""
    kept = {name: value for name, value in query.items() if name not in ONCE and value}
    return {
        **status,
        "status": status,
        "needs": needs(status),
        "grants": grants(status),
        "query": kept,
        "link": link_of(kept),
        **more,
    }


def link_of(query: Mapping[str, str]) -> Callable[..., str]:
    """Makes addresses of the same page: `link(span="24h")`; an empty value takes a field out."""

    def link(**changes: str) -> str:
        fields = {name: value for name, value in {**query, **changes}.items() if value}
        return f"./?{urlencode(fields)}" if fields else "./"

    return link


def grants(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each grant with the mounts that use it, in the order of the configuration."""
    found: dict[str, dict[str, Any]] = {}
    for mount in status["mounts"]:
        found.setdefault(mount["grant"], {**mount, "mounts": []})["mounts"].append(mount)
    return list(found.values())


def needs(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a person should do: a sentence and the command for each halt and each mount that has a fix, then warnings.

    `grant` is the one that a login would help, `login` whether its broker's page leads back here; `halt` is the halt
    that can be lifted (`all`: every one, whatever they are), `reload` whether the configuration can be loaded.
    """
    found: dict[str, dict[str, Any]] = {}
    for mount in status["mounts"]:
        why = mount["warning"] or mount["reason"]
        for member in mount["members"]["needing"]:
            what = f"{mount['title']} ({member['grant']}): {member['state']}"
            found.setdefault(member["grant"], _need(what, member["fix"], grant=member["grant"], of=mount))
        if (mount["fix"] or mount["warning"] or mount["missing"]) and not for_members(mount):
            # Mounts that share a grant need one login, not several.
            lacks = f"the login lacks the scope {', '.join(mount['missing'])}" if mount["missing"] else ""
            what = f"{mount['title']} ({mount['grant']}): {why or lacks or mount['state']}"
            fix = mount["fix"] or (
                None if mount["warning"] else f"bearerd login {mount['grant']}"
            )  # a warning names it
            found.setdefault(
                mount["grant"], _need(what, fix, grant=mount["grant"], login=mount["login_here"], of=mount)
            )
    halts = [_need(halt["text"], halt["resume"], halt=halt) for halt in status["halts"]]
    warnings = [
        _need(each, None, reload=each.endswith(_TO_LOAD), all=each.endswith(_TO_RESUME)) for each in status["warnings"]
    ]
    return [*halts, *found.values(), *warnings]


def _need(what: str, fix: str | None, **more: Any) -> dict[str, Any]:
    of = more.pop("of", None)
    real = of is not None and of["environment"] == "live"
    return {
        "what": what, "fix": fix, "grant": None, "login": False, "halt": None, "all": False, "reload": False,
        "live": real,
    } | more  # fmt: skip


def ident(parts: Iterable[object]) -> str:
    """An id for an element that is about these. Different parts make different ids."""
    return ".".join(re.sub(r"[^A-Za-z0-9-]", lambda found: f"_{ord(found[0]):x}", str(part)) for part in parts)


def masked(text: str) -> str:
    """Free text without secrets and what steers a line; of an account number the last three digits stay."""
    return _ACCOUNT.sub("…", _STEERS.sub("?", logs.redact(text)))


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


FILTERS = {
    "masked": masked, "redacted": logs.redact, "span": span, "clock": clock_time, "iso": iso, "sign": sign,
    "for_members": for_members, "daytime": daytime, "zone": zone, "ident": ident,
}  # fmt: skip
