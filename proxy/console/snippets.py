"""“Connect your client”: what to write in each language, with a mount's real address and a call that it allows.

The same table makes the section of `docs/clients.md`; tests run every program for which the language is at hand.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.console.languages import CALLS, GENERIC, SOCKET
from proxy.console.sdks import NODE, OTHERS, PYTHON, Snippet

ALL = (*GENERIC, *PYTHON, *NODE, *OTHERS)
LANGUAGES = tuple(dict.fromkeys(snippet.language for snippet in ALL))
# What highlighters call them.
_FENCES = {"curl": "sh", "Python": "python", "Node.js": "js", "Go": "go", "Java": "java", "C#": "csharp", "R": "r"}
_ANY = "/path/of/the/broker"
_SOCKETS = frozenset({("tradier", "stream"), ("tradier", "ws"), ("alpaca", "stream")})
_FOR_SOCKETS = "This mount is for streams: docs/clients.md, under Streams, says what to write for each library."
_TRUST = "The program must trust the certificate: docs/tls.md. `bearerd run` sees to that by itself."
_EVERYWHERE = (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:"))
_ELSEWHERE = "The address is for programs on this machine; on others write this machine's name in its place."
_NEEDS_TCP = "Libraries need an address with a port: `listen: 127.0.0.1:8080`."
_NEEDS_PORT = "It drops the mount's name from the address: give the mount a port of its own (`port: 8180`)."


@dataclass(frozen=True, slots=True)
class Program:
    """A snippet with everything filled in. `id` is made for the page; texts in `notes` stand below the code."""

    id: str
    language: str
    client: str
    code: str
    install: str
    before: str
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Connect:
    """What the page shows: a language and a mount that are chosen, what else may be, and the programs for them."""

    language: str
    languages: Sequence[str]
    mount: str
    mounts: Sequence[str]
    notes: Sequence[str]
    programs: Sequence[Program]


def of(status: Mapping[str, Any], language: str | None = None, mount: str | None = None) -> Connect | None:
    """The programs in one language for one mount; without a choice, or a known one, the first. None without mounts."""
    mounts = {each["name"]: each for each in status["mounts"]}
    if not mounts:
        return None
    chosen = mounts.get(mount or "") or next(iter(mounts.values()))
    languages = list(dict.fromkeys(snippet.language for snippet in fitting(chosen)))
    tongue = language if language in languages else next(iter(languages), "")
    programs = [filled(each, chosen) for each in fitting(chosen) if each.language == tongue]
    return Connect(tongue, languages, chosen["name"], list(mounts), list(_notes(chosen)), programs)


def fitting(mount: Mapping[str, Any]) -> list[Snippet]:
    """What serves this mount: libraries for its broker and API, and what serves all of them."""
    api = (mount["broker"], mount["api"])
    if mount["url"].startswith("unix:"):
        return [SOCKET]
    if api in _SOCKETS:
        return []
    return [snippet for snippet in ALL if not snippet.serves or api in snippet.serves]


def _notes(mount: Mapping[str, Any]) -> Iterator[str]:
    if (mount["broker"], mount["api"]) in _SOCKETS:
        yield _FOR_SOCKETS
    if mount["url"].startswith("unix:"):
        yield _NEEDS_TCP
    if mount["url"].startswith("https:"):
        yield _TRUST
    if _here(mount["url"]) != mount["url"]:
        yield _ELSEWHERE


def filled(snippet: Snippet, mount: Mapping[str, Any]) -> Program:
    """The program for this mount."""
    path = call(mount)
    url, root = _here(mount["url"]), _here(mount["root_url"] or mount["url"])
    words = {
        "@URL@": url,
        "@ROOT@": root,
        "@PATH@": path,
        "@BARE@": path.lstrip("/").partition("?")[0],
        "@MOUNT@": mount["name"],
        "@SOCKET@": url.removeprefix("unix:").removesuffix(f"/{mount['name']}"),
    }
    notes = [snippet.note] if snippet.note else []
    if snippet.root and not mount["root_url"]:
        notes.append(_NEEDS_PORT)
    name = re.sub(r"[^a-z0-9]+", "-", f"{snippet.language} {snippet.client} {mount['name']}".lower())
    return Program(
        id=f"connect-{name}",
        language=snippet.language,
        client=snippet.client,
        code=_with(snippet.code, words),
        install=snippet.install,
        before=_with(snippet.before, words),
        notes=notes,
    )


def _here(url: str) -> str:
    """The address of a server that listens everywhere, as programs on this machine write it."""
    for everywhere, local in _EVERYWHERE:
        url = url.replace(everywhere, local, 1)
    return url


def call(mount: Mapping[str, Any]) -> str:
    """The path of a harmless call that the mount allows; of a broker that is not known here, what to write there."""
    calls = CALLS.get((mount["broker"], mount["api"]), ())
    allowed = [path for scope, path in calls if scope in mount["scopes"]]
    return next(iter(allowed), calls[0][1] if calls else _ANY)


def _with(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"@[A-Z]+@", lambda found: words[found[0]], text)


# The addresses of docs/clients.md: those of the default listener.
_BEGIN = "<!-- from the table of proxy/console/sdks.py and languages.py: scripts/clients_page.py -->\n"
_END = "<!-- end -->\n"
_SCOPES = {api: [scope for scope, _ in calls] for api, calls in CALLS.items()}
_PAGE = {
    ("questrade", "main"): "questrade",
    ("tradier", "rest"): "tradier",
    ("alpaca", "trading"): "alpaca",
    ("alpaca", "data"): "alpaca-data",
    ("alpaca", "broker"): "alpaca-broker",
}


def markdown() -> str:
    """The section of `docs/clients.md`: by language, with the addresses of a default configuration."""
    parts = []
    for language in LANGUAGES:
        parts.append(f"### {language}\n")
        parts += [_written(snippet) for snippet in ALL if snippet.language == language]
    return "\n".join(parts)


def on_page(text: str) -> str:
    """The text of `docs/clients.md` with the programs as they are now. `ValueError`: it has no place for them."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError("the page has lost the marks between which the programs stand")
    return f"{before}{begin}\n{markdown()}\n{end}{after}"


def _written(snippet: Snippet) -> str:
    broker, api = snippet.serves[0] if snippet.serves else ("questrade", "main")
    name = _PAGE[broker, api]
    mount = {
        "name": name, "broker": broker, "api": api, "scopes": _SCOPES[broker, api],
        "url": f"http://127.0.0.1:8080/{name}", "root_url": "http://127.0.0.1:8180",
    }  # fmt: skip
    program = filled(snippet, mount)
    what = f" ({broker.capitalize()}, mount `{name}`)" if snippet.serves else ", any broker"
    said = " ".join([f"{program.client}{what}.", *program.notes])
    before = f"```sh\n{program.before}\n```\n\n" if program.before else ""
    return f"{said}\n\n{before}```{_FENCES[snippet.language]}\n{program.code}```\n"
