"""What bearerd can say has an entry in `docs/troubleshooting`, and nothing else has."""

import ast
import functools
import re
from collections import Counter
from pathlib import Path

import pytest

from proxy.config import ConfigInvalid
from proxy.errors import KINDS, PROBLEM_BASE, Refusal, render
from proxy.gate.target import parse
from proxy.settings import read
from tests.messagerules import LEFT_OUT, NOT_SHOWN, NOT_SHOWN_TEXTS
from tests.messages import (
    ROOT,
    Message,
    covered,
    messages,
    pages,
    patterns,
    puzzles,
    squeezed,
    unplaced_pages,
)

DOCS = ROOT / "docs"
INDEX = DOCS / "troubleshooting.md"
FEWEST = 1200  # so many there were, and more: a collector that goes blind finds fewer


@functools.cache
def _said() -> tuple[Message, ...]:
    return tuple(messages())


def test_every_message_has_an_entry() -> None:
    """Each text of the source that can be shown begins an item of a page, word for word."""
    known = covered()
    missing = [f"{each.place}: {each.text}" for each in _said() if not each.advice and each.text not in known]

    assert len(_said()) > FEWEST
    assert [] == missing, "add them to a page of docs/troubleshooting: python -m tests.messages lists them"


def test_no_entry_is_left_over() -> None:
    """Each text that begins an item is one that the source still has."""
    said = {each.text for each in _said()}

    assert [] == [f"{', '.join(where)}: {text}" for text, where in covered().items() if text not in said]


def test_every_way_of_saying_something_is_understood() -> None:
    """No exception that nobody has placed, no event of the log that can't be read, no message put together with `%`."""
    assert [] == [*puzzles(ROOT / "proxy"), *unplaced_pages()]


def test_what_is_left_out_is_still_there() -> None:
    """Each exemption names a file, and in it a function, class, constant or text."""
    stale = []
    for name, what in NOT_SHOWN:
        tree = ast.parse((ROOT / "proxy" / name).read_text("utf-8"))
        if what != "*" and what not in _names(tree):
            stale.append(f"{name}: {what}")
    stale += [f"{name}: {text}" for name, text in NOT_SHOWN_TEXTS if text not in _texts(ROOT / "proxy" / name)]

    assert [] == stale


def _texts(file: Path) -> set[str]:
    source = file.read_text("utf-8")
    if file.suffix != ".py":
        return set(re.findall(r"\"([^\"\n]+)\"", source))
    return {squeezed(text) for node in ast.walk(ast.parse(source)) for text in patterns(node)}


def _names(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            found |= {ast.unparse(each) for each in (node.targets if isinstance(node, ast.Assign) else [node.target])}
    return found


# What is really said, by the very code that says it.
BROKEN = {
    "syntax": "version: 1\nmounts: {a: {broker: questrade\n",
    "tab": "version: 1\nmounts:\n\ta: 1\n",
    "twice": "version: 1\nversion: 1\n",
    "alias": "version: 1\nmounts: &a {}\nclients: *a\n",
    "unknown": "version: 1\nclients: none\nmounts: {q: {broker: questrade, enviroment: live, scopes: []}}\n",
    "broker": "version: 1\nclients: none\nmounts: {q: {broker: nobody, environment: live, scopes: []}}\n",
    "scope": "version: 1\nclients: none\nmounts: {q: {broker: questrade, environment: live, scopes: [fly]}}\n",
    "types": "version: 2\nlisten: 7\nworkers: many\nclients: everybody\nlog: {level: loud}\n",
    "addresses": "version: 1\nlisten: ['8080', 0.0.0.0:8080, 'unix:here']\nclients: none\nallowed_hosts: [UPPER]\n",
    "store": "version: 1\nclients: none\nstore: postgresql://u:p@h/d?sslmode=prefer\nkey: here\n",
    "tls": "version: 1\nclients: none\ntls: {local_ca: true, certificate_file: a.pem, client_certificate: named}\n",
    "guards": "version: 1\nclients: none\nmounts: {q: {broker: questrade, environment: live, scopes: [trade], guards: "
    "{hours: {days: [mon], open: '25:00', close: '9', zone: Mars}, max_notional: -1, sides: []}}}\n",
    "definition": "version: 1\nclients: none\nbrokers: {own: {apis: {a: {rows: [{id: x, path: 'y'}]}}, logins: 3}}\n",
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_what_a_broken_configuration_is_told_is_known(name: str, tmp_path: Path) -> None:
    """Each of its problems is one of the messages, with its values in the holes."""
    file = tmp_path / "config.yaml"
    file.write_text(BROKEN[name])
    with pytest.raises(ConfigInvalid) as caught:
        read(file, {"HOME": str(tmp_path)})

    assert [] == [problem.message for problem in caught.value.problems if not _is_known(problem.message)]


@pytest.mark.parametrize(
    "target", ["/q/../v1", "//q", "q/v1", "/q/" + "a/" * 99, "/q/v1?a#b", "/%71/v1", "/q/v1?_method=POST"]
)
def test_what_an_odd_target_is_told_is_known(target: str) -> None:
    """So is what the gate says of a target that can be read in two ways."""
    with pytest.raises(Refusal) as caught:
        parse(target.encode())

    assert _is_known(caught.value.detail)


def _is_known(said: str) -> bool:
    """Whether some message reads so, with values in its holes."""
    words = " ".join(said.split())
    return any(_fits(each.text.split("…"), words) for each in _said())


def _fits(pieces: list[str], said: str) -> bool:
    if len(pieces) == 1:
        return pieces[0] == said
    if not said.startswith(pieces[0]) or not said.endswith(pieces[-1]):
        return False
    place = len(pieces[0])
    for piece in pieces[1:]:
        found = said.find(piece, place + 1)  # a value has one character at least
        if found < 0:
            return False
        place = found + len(piece)
    return True


# -- the pages ---------------------------------------------------------------------------------------------------------


def _slug(heading: str) -> str:
    """The anchor that GitHub and others give to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _anchors(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = [_slug(found) for found in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    return headings + re.findall(r'<a id="([\w-]+)"></a>', text)


def test_anchors_are_unique() -> None:
    """A link to a section leads to one."""
    doubles = {page.name: [name for name, n in Counter(_anchors(page)).items() if n > 1] for page in [*pages(), INDEX]}

    assert {} == {name: found for name, found in doubles.items() if found}


def test_the_index_leads_to_every_section() -> None:
    """Each page, and each of its sections, is linked from the index."""
    linked = set(re.findall(r"\(troubleshooting/([^)]+)\)", INDEX.read_text("utf-8")))
    sections = {
        f"{page.name}#{_slug(heading)}"
        for page in pages()
        for heading in re.findall(r"^## (.+)$", page.read_text("utf-8"), re.MULTILINE)
    }

    assert {page.name for page in pages()} | sections == linked


def test_every_kind_of_refusal_has_a_section_and_an_anchor() -> None:
    """`type` ends in the kind's name, which is a section of the page of refusals and an anchor of `docs/errors.md`."""
    names = {kind.name for kind in KINDS.values()}
    refusals = next(page for page in pages() if page.name == "http.md")
    shown = render(Refusal("halted", "x"), request_id="r").body

    assert names <= set(_anchors(refusals))
    assert sorted(names) == sorted(re.findall(r'<a id="([\w-]+)"></a>', (DOCS / "errors.md").read_text("utf-8")))
    assert f'"type": "{PROBLEM_BASE}halted"'.encode() in shown


# -- the collector itself ----------------------------------------------------------------------------------------------

SPOKEN = {
    'raise Stop("it is locked", fix="open it first")': ["it is locked"],
    'raise Stop(f"port {port} of {host} is taken")': ["port … of … is taken"],
    'raise Refusal("halted", "locked")': ["locked"],
    'log.warning("late")': ["late"],
    'logs.get("x").error("went away" if gone else "never came")': ["went away", "never came"],
    "fail(f\"it is {('too big' if big else 'too small')} here\")": ["it is too big here", "it is too small here"],
    'click.echo("one part " + "and another")': ["one part and another"],
    'return ("is no name", "write letters only")': ["is no name"],
    'raise OSError(errno.EPERM, "it belongs to somebody")': ["it belongs to somebody"],
    'TABLE = {"a": "must be text, not {kind}"}': ["must be text, not …"],
    'problem(path, "has no value", "give it one")': ["has no value"],
    "why = f\"{lead} and so {', '.join(f'no {x} either' for x in y)}\"": ["… and so …", "no … either"],
    'invocation.say("! nobody heard it")': ["! nobody heard it"],
}
QUIET = [
    'invocation.say("All is done now.")',
    'log.info("a login was completed")',
    'connection.execute("SELECT name FROM records")',
    'click.option("--all", help="Every one of them.")',
    'x = Field(description="Where you look.")',
    "def f():\n    '''What it does.'''",
    'def __repr__(self):\n    return "Keeper of one"',
    'headers={"Content-Type": "text/plain; charset=utf-8"}',
]


def _tree(folder: Path, source: str) -> Path:
    for name in ("proxy/console", "scripts"):
        (folder / name).mkdir(parents=True)
    (folder / "Makefile").write_text("all:\n")
    in_function = source.startswith("return")
    (folder / "proxy" / "a.py").write_text(f"def f():\n    {source}\n" if in_function else source)
    return folder


@pytest.mark.parametrize("source", sorted(SPOKEN))
def test_it_reads(source: str, tmp_path: Path) -> None:
    """Each way in which this code base says something."""
    found = messages(_tree(tmp_path, source))

    assert SPOKEN[source] == [each.text for each in found if not each.advice]


@pytest.mark.parametrize("source", QUIET)
def test_it_passes_over(source: str, tmp_path: Path) -> None:
    """What describes, and what all went well."""
    assert [] == messages(_tree(tmp_path, source))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("class Torn(Exception): ...", "put Torn into SPEAKING or SILENT"),
        ("class Torn(StoreError): ...", "put Torn into SPEAKING or SILENT"),
        ("log.error(text())", "the event of the log is neither a text nor a constant's name"),
        ('raise Stop("port %s is taken" % port)', "write the message as an f-string"),
        ('raise SocketEnded("the socket has ended")', "SocketEnded is said to carry no text"),
    ],
)
def test_it_says_what_it_does_not_understand(source: str, expected: str, tmp_path: Path) -> None:
    """A new exception, an event that is computed, a message that is put together."""
    found = list(puzzles(_tree(tmp_path, source) / "proxy"))

    assert len(found) == 1
    assert expected in found[0]


def test_it_reads_scripts_and_troubled_pages(tmp_path: Path) -> None:
    """What a shell says on stderr, and sentences of a page that tells of trouble."""
    root = _tree(tmp_path, "")
    (root / "scripts" / "setup").write_text('say "not here: $missing"\necho "to stdout"\necho "usage: setup" >&2\n')
    (root / "proxy/console/failed.html.j2").write_text("<p>It has failed for {{ name }} <b>now</b>.</p>{% if x %}")

    assert ["It has failed for … now.", "not here: …", "usage: setup"] == [each.text for each in messages(root)]


def test_only_what_is_no_message_of_ours_is_left_out() -> None:
    """The whole package is read, but for one file of SQL and what simulated brokers say."""
    left = [file.relative_to(ROOT / "proxy").as_posix() for file in (ROOT / "proxy").rglob("*.py")]

    assert {"store/postgressql.py"} == {name for name in left if LEFT_OUT.match(name) and "simulator/" not in name}
