"""The shape of the house, held by reading its syntax trees: who may import whom, and what nobody may write.

Each checker takes the folder of the package and answers with what is wrong, one line each. The last test plants one
fault of every kind in a tree of its own and sees it found.
"""

import ast
import functools
import graphlib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "proxy"

# A room is a file or folder of the package. Lower never imports upper.
LAYERS = {
    "secret": 0, "clock": 0, "errors": 0, "spans": 0, "redactor": 0, "dsn": 0, "expiry": 0, "flow": 0,
    "eventloop": 0, "aiohttpload": 0, "filestamp": 0, "logsink": 0, "notify": 0, "counts": 0, "labels": 0,
    "identifiers": 0,
    "gate": 1, "dials": 1, "config": 1, "logs": 1, "metrics": 1, "parser": 1, "plainhead": 1,
    "brokers": 2, "store": 2, "resolver": 2, "outbound": 2,
    "tokens": 3, "relay": 3, "pacing": 3, "audit": 3, "tracing": 3, "traceexport": 3, "collector": 3,
    "clientkey": 3, "clientkeys": 3, "lastuse": 3, "certificates": 3, "inforce": 3, "localca": 3, "trustfiles": 3,
    "sockets": 3, "hardening": 3, "pressure": 3, "watchdog": 3, "tlsline": 3, "halts": 3, "grants": 3, "guarding": 3,
    "history": 3, "hooks": 3, "settings": 3,
    "gateway": 4, "intake": 4, "emulation": 4, "listener": 4, "vestibule": 4, "console": 4, "admin": 4,
    "custody": 4, "admission": 4, "streams": 4, "authorizations": 4, "provenance": 4, "keepers": 4, "adoption":
    4, "rates": 4, "activation": 4, "doors": 4, "connection": 4, "quietserver": 4, "express": 4, "trip": 4,
    "serving": 4,
    "clientele": 5, "gauges": 5, "overview": 5, "reloading": 5, "partneroauth": 5, "operations": 5, "halting":
    5, "assembly": 5, "watch": 5, "alerts": 5, "app": 5, "simulator": 5, "workers": 5,
    "cli": 6,
    "__main__": 7,
}  # fmt: skip

# Rooms that may import less than their layer would let them.
MAY_IMPORT = {
    "gate": {"secret", "errors"},
    "store": {"secret", "clock", "dsn"},
    "simulator": {"brokers", "config"},
}

# Who holds a strong reference to tasks of its own, and looks at how they end: a grant's flight, a login whose code is
# out, an act at the console, the store's watcher, handshakes, an upload beside its answer.
SUPERVISORS = (
    "tokens/keeper.py",
    "authorizations.py",
    "console/view.py",
    "app.py",
    "vestibule.py",
    "workers/pump.py",
    "workers/supervisor.py",
    "relay/pool/uploads.py",
)

# Modules that only these rooms may import.
SEEN_BY: dict[str, set[str]] = {
    "proxy.simulator": {"cli"},
    "proxy.store.sqlite": {"custody"},
    "proxy.store.postgres": {"custody"},
    "proxy.store.memory": set(),
}

# Every import from outside the standard library, and sqlite3, with the files that may have it.
OWNERS = {
    "asyncpg": ["store/connections.py"],
    "aiohttp": [
        "aiohttpload.py", "quietserver.py", "outbound.py", "resolver.py", "tokens/*", "relay/*", "parser.py",
        "connection.py", "listener.py", "vestibule.py", "intake.py", "alerts/webhook.py", "gateway.py",
        "trip.py", "emulation.py", "doors.py", "console/*", "cli/*", "simulator/*", "admission.py", "streams/*",
        "workers/front.py",
    ],
    "click": ["cli/*"],
    "certifi": ["trustfiles.py"],
    "cryptography": ["store/sealing.py", "store/keys.py", "inforce.py", "localca.py", "simulator/ca.py"],
    "httptools": ["relay/pool/reading.py"],
    "jinja2": ["console/*"],
    "msgpack": ["streams/alpaca/*", "simulator/*"],
    "multidict": ["simulator/*"],
    "opentelemetry": ["traceexport.py"],
    "prometheus_client": ["metrics.py", "dials.py"],
    "pydantic": ["config/*"],
    "requests": ["traceexport.py"],
    "sqlite3": ["store/sqlite.py", "store/sqlitefile.py", "store/sqliteschema.py"],
    "structlog": ["logs.py"],
    "urllib3": ["traceexport.py"],
    "uvloop": ["eventloop.py"],
    "yaml": ["config/*"],
    "yarl": ["alerts/webhook.py", "tokens/oauth.py", "relay/*"],
}  # fmt: skip

# Decisions: no socket, no clock, no machine.
PURE = [
    "audit/chain.py", "audit/export.py", "audit/record.py", "audit/verify.py",
    "gate/*", "plainhead.py", "tokens/grant.py", "tokens/answer.py", "tokens/schedule.py",
    "relay/answerhead.py", "relay/credential.py", "relay/echo.py", "relay/headers.py", "relay/wirehead.py",
    "relay/pool/plainanswer.py", "brokers/questrade.py",
    "alerts/denials.py", "alerts/notice.py", "alerts/queue.py", "alerts/signing.py", "alerts/troubles.py",
    "streams/codes.py", "streams/dialects.py",
    "streams/alpaca/messages.py", "streams/alpaca/transcript.py", "streams/alpaca/reopening.py",
    "streams/questrade/messages.py", "streams/questrade/rawjson.py", "streams/questrade/streamport.py",
]  # fmt: skip
IMPURE = {
    "aiohttp",
    "asyncio",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
}

# Files whose tests live under another name, with the reason. The list only shrinks.
TESTED_ELSEWHERE = {
    "tokens/lender.py": "tests/workers/test_lending.py",  # a protocol: what stands in for a keeper has to do
    "store/__init__.py": "tests/store/test_contract.py",  # a protocol: what every store has to do
}

# A request target is read from its raw bytes, by the gate. What aiohttp makes of it decides nothing, anywhere.
RAW_TARGET = ("gateway.py", "quietserver.py", "console/*", "cli/authorize.py")
DECODED = {"path", "query", "url", "host"}
DECODED_ANYWHERE = {"match_info", "rel_url", "query_string", "path_qs", "Application", "UrlDispatcher"}

HABITS = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}
SESSION_SETTINGS = {
    "trust_env": "False",
    "auto_decompress": "False",
    "raise_for_status": "False",
    "cookie_jar": "DummyCookieJar()",
    "middlewares": "never_send_again",
}
HTTP_CALLS = {"request", "get", "post", "put", "patch", "delete", "head", "options"}


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the package: `name` is its path in the package, `module` its dotted name."""

    name: str
    module: str
    tree: ast.Module

    @property
    def room(self) -> str:
        return _room(self.module)

    def at(self, node: ast.AST, problem: str) -> str:
        return f"proxy/{self.name}:{getattr(node, 'lineno', 1)}: {problem}"

    def calls(self) -> Iterator[ast.Call]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))


@functools.cache
def parsed(text: str) -> ast.Module:
    """Each file is parsed once for all checkers; none of them changes a tree."""
    return ast.parse(text)


def read(package: Path) -> list[Source]:
    files = sorted(package.rglob("*.py"))
    names = [file.relative_to(package).as_posix() for file in files]
    dotted = [name.removesuffix(".py").removesuffix("__init__").strip("/").replace("/", ".") for name in names]
    return [
        Source(name, f"proxy.{module}".rstrip("."), parsed(file.read_text("utf-8")))
        for file, name, module in zip(files, names, dotted, strict=True)
    ]


def imports(source: Source, modules: set[str]) -> Iterator[tuple[ast.AST, str]]:
    """Every module that is imported, late imports too. `from proxy.gate import target` names `proxy.gate.target`."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            submodules = {f"{origin}.{alias.name}" for alias in node.names} & modules
            yield from ((node, name) for name in submodules or {origin})


def inner_imports(package: Path) -> Iterator[tuple[Source, ast.AST, str]]:
    sources = read(package)
    modules = {source.module for source in sources}
    for source in sources:
        for node, name in imports(source, modules):
            if name.split(".")[0] == "proxy" or name.startswith("."):
                yield source, node, name


def upward_imports(package: Path) -> Iterator[str]:
    yield from (
        f"proxy/{source.name}:1: {source.room} has no layer"
        for source in read(package)
        if source.room not in {"", *LAYERS}
    )
    for source, node, name in inner_imports(package):
        room = _room(name)
        if source.room == room and room:
            continue
        allowed = MAY_IMPORT.get(
            source.room, {other for other in LAYERS if LAYERS[other] <= LAYERS.get(source.room, -1)}
        )
        if room not in allowed and name != "proxy":  # the package itself: the map and the version, no code
            yield source.at(node, f"{source.room or 'the package'} may not import {name}")


def private_imports(package: Path) -> Iterator[str]:
    for source, node, name in inner_imports(package):
        for module, rooms in SEEN_BY.items():
            inside = source.module.startswith(module)
            if (name == module or name.startswith(f"{module}.")) and not inside and source.room not in rooms:
                yield source.at(node, f"only {' and '.join(rooms) or 'a test'} may import {module}")


def cycles(package: Path) -> Iterator[str]:
    modules: dict[str, set[str]] = {}
    rooms: dict[str, set[str]] = {}
    for source, _, name in inner_imports(package):
        modules.setdefault(source.module, set()).add(name)
        if source.room != _room(name):
            rooms.setdefault(source.room, set()).add(_room(name))
    for graph in (modules, rooms):
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            yield "a cycle: " + " → ".join(reversed(error.args[1]))


def foreign_imports(package: Path) -> Iterator[str]:
    for source in read(package):
        for node, name in imports(source, set()):
            top = name.split(".")[0]
            if top in OWNERS and not _matches(source.name, OWNERS[top]):
                yield source.at(node, f"{top} belongs to {', '.join(OWNERS[top])}")
            elif top not in OWNERS and top not in sys.stdlib_module_names and top not in {"proxy", ""}:
                yield source.at(node, f"{top} has no owner")


def impure_decisions(package: Path) -> Iterator[str]:
    for source in read(package):
        for node, name in imports(source, set()):
            if _matches(source.name, PURE) and name.split(".")[0] in IMPURE:
                yield source.at(node, f"pure code may not import {name}")


def untested_files(package: Path) -> Iterator[str]:
    """`gate/target.py` → `tests/gate/test_target.py`; a package's own code → `tests/brokers/test_brokers.py`."""
    for source in read(package):
        if not any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in source.tree.body
        ):
            continue
        path = Path(source.name)
        stem = path.parent.name if path.stem == "__init__" else path.stem
        expected = TESTED_ELSEWHERE.get(source.name, f"tests/{(path.parent / f'test_{stem}.py').as_posix()}")
        if not (package.parent / expected).exists():
            yield f"proxy/{source.name}:1: no {expected}"


def loose_tasks(package: Path) -> Iterator[str]:
    """Tasks are made by a TaskGroup of the same file, or by the keeper, which holds its flights and sees them end."""
    for source in read(package):
        groups = {
            item.optional_vars.id
            for node in ast.walk(source.tree)
            if isinstance(node, ast.AsyncWith)
            for item in node.items
            if isinstance(item.optional_vars, ast.Name) and "TaskGroup" in ast.unparse(item.context_expr)
        }
        for call in source.calls():
            maker = _last_name(call.func)
            owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
            if maker in {"create_task", "ensure_future"} and owner not in groups and source.name not in SUPERVISORS:
                yield source.at(call, f"{maker} outside a TaskGroup and {' and '.join(SUPERVISORS)}")


def built_urls(package: Path) -> Iterator[str]:
    """No URL is joined from parts that a caller chose; yarl must not re-quote what the gate has matched."""
    for source in read(package):
        yarl = any(name == "yarl" for _, name in imports(source, set()))
        for call in source.calls():
            name = _last_name(call.func)
            text_join = isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Constant)
            if name == "urljoin" or (yarl and name in {"join", "joinpath", "with_path", "with_host"} and not text_join):
                yield source.at(call, f"{name}: build the URL from its parts")
            elif (
                yarl
                and (name == "URL" or ast.unparse(call.func) == "URL.build")
                and _keywords(call).get("encoded") != "True"
            ):
                yield source.at(call, "URL without encoded=True")


def careless_sessions(package: Path) -> Iterator[str]:
    """Towards a broker: no redirect, no cookie, no proxy of the environment, no unpacking, no second sending."""
    for source in read(package):
        if source.room == "simulator":
            continue
        outwards = any(name in {"aiohttp", "proxy.outbound"} for _, name in imports(source, set()))
        for call in source.calls():
            keywords = _keywords(call)
            if _last_name(call.func) == "ClientSession":
                wrong = [key for key, value in SESSION_SETTINGS.items() if value not in keywords.get(key, "")]
                yield from (source.at(call, f"ClientSession without {key}={SESSION_SETTINGS[key]}") for key in wrong)
            elif outwards and _is_http_call(call) and keywords.get("allow_redirects") != "False":
                yield source.at(call, f"{ast.unparse(call.func)} without allow_redirects=False")


def second_readings(package: Path) -> Iterator[str]:
    """One module reads the raw target; nothing asks aiohttp for its path, its query, or a router for a handler."""
    for source in read(package):
        if source.room == "simulator":
            continue
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Attribute):
                continue
            asked = _last_name(node.value).strip("_") == "request"
            if node.attr in DECODED_ANYWHERE or (asked and node.attr in DECODED):
                yield source.at(node, f"{ast.unparse(node)} is aiohttp's reading of the target; use gate/target.py")
            elif asked and node.attr == "raw_path" and not _matches(source.name, RAW_TARGET):
                yield source.at(node, f"request.raw_path belongs to {', '.join(RAW_TARGET)}")


def habit_names(package: Path) -> Iterator[str]:
    for path in sorted([*package.rglob("*"), *(package.parent / "tests").rglob("*.py")]):
        if HABITS & set(path.stem.removeprefix("test_").lower().split("_")):
            yield f"{path.relative_to(package.parent).as_posix()}: the concept is missing, name it"


def mocks(package: Path) -> Iterator[str]:
    """Fakes are code of the product: nothing in the tests replaces our own modules behind their back."""
    for path in sorted((package.parent / "tests").rglob("*.py")):
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text)) if "mock" in text else ():
            if isinstance(node, ast.Import | ast.ImportFrom) and "mock" in ast.unparse(node):
                yield f"{path.relative_to(package.parent).as_posix()}:{node.lineno}: {ast.unparse(node)}"


def _room(module: str) -> str:
    """The room of a dotted name; of a relative one nothing is said, so that it is in nobody's table."""
    return "relative" if module.startswith(".") else [*module.split("."), ""][1]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _last_name(node: ast.expr) -> str:
    return ast.unparse(node).rsplit(".", 1)[-1]


def _keywords(call: ast.Call) -> dict[str, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg is not None}


def _is_http_call(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in HTTP_CALLS:
        return False
    # A mapping has `get` too; nothing but a session has `post` and `request`.
    return call.func.attr in {"request", "post"} or _last_name(call.func.value).strip("_") in {
        "session",
        "client",
        "http",
    }


CHECKERS: list[Callable[[Path], Iterator[str]]] = [
    upward_imports, private_imports, cycles, foreign_imports, impure_decisions, untested_files,
    loose_tasks, built_urls, careless_sessions, second_readings, habit_names, mocks,
]  # fmt: skip

PLANTED: list[tuple[Callable[[Path], Iterator[str]], dict[str, str], str]] = [
    (upward_imports, {"gate/a.py": "from proxy.relay import http"}, "a.py:1: gate may not import proxy.relay"),
    (upward_imports, {"gate/a.py": "def f():\n  import proxy.clock"}, "a.py:2: gate may not import proxy.clock"),
    (upward_imports, {"errors.py": "from .secret import Secret"}, "errors may not import .secret"),
    (upward_imports, {"attic/a.py": ""}, "attic has no layer"),
    (upward_imports, {"__init__.py": "import proxy.app"}, "the package may not import proxy.app"),
    (private_imports, {"gateway.py": "from proxy.store import sqlite"}, "only custody may import proxy.store.sqlite"),
    (private_imports, {"app.py": "from proxy.simulator.faults import Fault"}, "only cli may import proxy.simulator"),
    (cycles, {"store/files.py": "import proxy.store.sqlite"}, "a cycle: "),
    (cycles, {"audit.py": "import proxy.relay.a", "relay/b.py": "import proxy.audit"}, "a cycle: "),
    (foreign_imports, {"gate/a.py": "from cryptography.fernet import Fernet"}, "cryptography belongs to store/"),
    (foreign_imports, {"app.py": "import httpx"}, "httpx has no owner"),
    (impure_decisions, {"gate/a.py": "from time import time"}, "pure code may not import time"),
    (untested_files, {"gate/a.py": "def f(): ..."}, "no tests/gate/test_a.py"),
    (untested_files, {"brokers/__init__.py": "class Broker: ..."}, "no tests/brokers/test_brokers.py"),
    (loose_tasks, {"audit.py": "loop.create_task(f())"}, "create_task outside a TaskGroup"),
    (built_urls, {"relay/a.py": "urllib.parse.urljoin(a, b)"}, "urljoin: build the URL"),
    (built_urls, {"relay/a.py": "from yarl import URL\nbase.join(a)"}, "join: build the URL"),
    (built_urls, {"relay/a.py": "from yarl import URL\nURL.build(path=a)"}, "URL without encoded=True"),
    (careless_sessions, {"app.py": "aiohttp.ClientSession(trust_env=True)"}, "without trust_env=False"),
    (careless_sessions, {"app.py": "import aiohttp\nsession.get(a)"}, "session.get without allow_redirects=False"),
    (second_readings, {"relay/a.py": "f(request.path)"}, "a.py:1: request.path is aiohttp's reading"),
    (second_readings, {"gateway.py": "self._request.query"}, "self._request.query is aiohttp's reading"),
    (second_readings, {"app.py": "web.Application()"}, "web.Application is aiohttp's reading"),
    (second_readings, {"relay/a.py": "other.match_info['x']"}, "other.match_info is aiohttp's reading"),
    (second_readings, {"relay/a.py": "request.raw_path"}, "a.py:1: request.raw_path belongs to gateway.py"),
    (habit_names, {"store/sqlite_utils.py": ""}, "proxy/store/sqlite_utils.py: the concept is missing"),
    (mocks, {"../tests/test_a.py": "from unittest.mock import patch"}, "tests/test_a.py:1"),
]

SOUND = {
    "clock.py": "",
    "secret.py": "",
    "relay/http.py": "",
    "store/sqlite.py": "import proxy.store.files\ndef f(): ...",
    "app.py": "async def f():\n  async with asyncio.TaskGroup() as group:\n    group.create_task(g())",
    "../tests/store/test_sqlite.py": "",
    "../tests/test_app.py": "",
}


@pytest.fixture(scope="module", autouse=True)
def _trees() -> Iterator[None]:
    """They are large, and nobody needs them afterwards."""
    yield
    parsed.cache_clear()


@pytest.mark.parametrize("check", CHECKERS, ids=lambda check: str(check.__name__))
def test_the_package_keeps_its_shape(check: Callable[[Path], Iterator[str]]) -> None:
    """No checker finds anything in the package as it is."""
    assert [] == list(check(PACKAGE))


@pytest.mark.parametrize(("check", "planted", "expected"), PLANTED)
def test_a_planted_fault_is_found(
    check: Callable[[Path], Iterator[str]], planted: dict[str, str], expected: str, tmp_path: Path
) -> None:
    """Each checker finds nothing in a small sound tree, and then the one fault that is planted in it."""
    package = tmp_path / "proxy"
    _write(package, SOUND)
    assert [] == list(check(package))

    _write(package, planted)

    assert any(expected in line for line in check(package)), list(check(package))


def test_every_exception_is_needed() -> None:
    """A file that is tested elsewhere exists, and nothing has the name that its tests would have."""
    for name in TESTED_ELSEWHERE:
        path = PACKAGE / name
        assert path.exists()
        stem = path.parent.name if path.stem == "__init__" else path.stem
        assert not (PACKAGE.parent / "tests" / Path(name).parent / f"test_{stem}.py").exists()


def test_every_permission_is_used() -> None:
    """Who may import, or start tasks of its own, does: the tables allow nothing that is not there."""
    sources = read(PACKAGE)
    foreign = {(name.split(".")[0], source.name) for source in sources for _, name in imports(source, set())}
    assert [] == [
        (top, pattern)
        for top, patterns in OWNERS.items()
        for pattern in patterns
        if not any(top == name and fnmatch(file, pattern) for name, file in foreign)
    ]
    inner = {(source.room, _room(name), name) for source, _, name in inner_imports(PACKAGE)}
    assert MAY_IMPORT == {
        room: {other for one, other, _ in inner if one == room and other != room} for room in MAY_IMPORT
    }
    assert SEEN_BY == {
        module: {room for room, _, name in inner if f"{name}.".startswith(f"{module}.")} - {module.split(".")[1]}
        for module in SEEN_BY
    }
    assert set(SUPERVISORS) <= {
        source.name for source in sources for call in source.calls() if _last_name(call.func) == "create_task"
    }


def test_every_checker_is_proven() -> None:
    """There is a planted fault for each checker."""
    assert set(CHECKERS) == {check for check, _, _ in PLANTED}


def _write(package: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = package.parent / name.removeprefix("../") if name.startswith("../") else package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
