"""Programs for a mount: what fits it, filled with its address; and the page of documents, from the same table."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, FunctionLoader, StrictUndefined

from proxy.brokers import builtin
from proxy.console import snippets
from proxy.console.languages import CALLS
from proxy.console.sdks import Snippet
from proxy.console.snippets import ALL, LANGUAGES, call, filled, of, on_page
from proxy.gate.scopes import Match
from proxy.gate.target import parse
from tests.console.shown import mount, status

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = Path(snippets.__file__).parent / "templates"
TRADIER = mount("my-tradier", broker="tradier", api="rest", scopes=["market"], root_url="http://127.0.0.1:8180")
SOCKETS = mount("ws", broker="tradier", api="ws", scopes=["stream"])
OWN = mount("desk", broker="schwab", api="trader", scopes=["x"])
UNIX = mount("q", url="unix:/run/bearerd/bearerd.sock/q")
SECURE = mount("q", url="https://bearerd.example:8443/q")


def clients(language: str, *mounts: dict[str, Any], to: str | None = None) -> list[str]:
    found = of(status(*mounts), language, to)
    assert found is not None
    return [program.client for program in found.programs]


def test_a_mount_gets_what_fits_its_broker() -> None:
    """Libraries of that broker, and what calls any."""
    assert "qtrade 0.6.1" in clients("Python", mount())
    assert "uvatradier 0.4.7" not in clients("Python", mount())
    assert ["requests", "httpx", "aiohttp", "urllib"] == clients("Python", OWN)
    assert ["fetch", "tradier-client 1.0.1"] == clients("Node.js", mount(), TRADIER, to="my-tradier")


def test_a_choice_that_is_none_is_the_first() -> None:
    """Of language and mount; without mounts there is nothing to choose."""
    found = of(status(mount(), TRADIER), "Cobol", "nowhere")
    assert found is not None
    assert ("curl", "questrade", ["questrade", "my-tradier"]) == (found.language, found.mount, found.mounts)
    assert LANGUAGES == tuple(found.languages)
    assert of(status()) is None


def test_addresses_and_calls_are_the_mount_s() -> None:
    """With a call that its scopes allow."""
    found = of(status(TRADIER), "curl")
    assert found is not None
    (program,) = found.programs
    assert '"http://127.0.0.1:8080/my-tradier/v1/markets/quotes?symbols=AAPL"' in program.code
    assert "/v1/user/profile" == call(TRADIER | {"scopes": ["trade", "read"]})
    assert "/v1/user/profile" == call(TRADIER | {"scopes": []})
    assert "/path/of/the/broker" == call(OWN)


def test_a_library_that_drops_the_path_gets_the_mount_s_port() -> None:
    """Or is told to ask for one."""
    (snippet,) = (each for each in ALL if each.client.startswith("tradier-python"))
    assert 'endpoint="http://127.0.0.1:8180/"' in filled(snippet, TRADIER).code
    assert not any("port" in note for note in filled(snippet, TRADIER).notes)
    assert "port of its own" in filled(snippet, TRADIER | {"root_url": None}).notes[-1]


def test_streams_sockets_and_tls_have_their_own_words() -> None:
    """No library fits a mount of sockets, curl alone a Unix socket, and a certificate must be trusted."""
    sockets, unix, secure = of(status(SOCKETS)), of(status(UNIX)), of(status(SECURE), "Python")
    assert sockets is not None
    assert unix is not None
    assert secure is not None
    assert ([], [], True) == (sockets.programs, sockets.languages, "Streams" in sockets.notes[0])
    (program,) = unix.programs
    assert '--unix-socket "/run/bearerd/bearerd.sock"' in program.code
    assert '"http://localhost/q/v1/accounts"' in program.code
    assert "certificate" in secure.notes[0]


@pytest.mark.parametrize(("bound", "written"), [("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")])
def test_a_server_that_listens_everywhere_is_called_here(bound: str, written: str) -> None:
    """Nobody can call an address that stands for all; what other machines write is said."""
    found = of(status(mount(url=f"http://{bound}:8080/q", root_url=f"http://{bound}:8180")))
    assert found is not None
    assert f"http://{written}:8080/q/v1/accounts" in found.programs[0].code
    assert "this machine's name" in found.notes[0]


@pytest.mark.parametrize("api", CALLS, ids=".".join)
def test_every_call_is_a_row_of_its_broker(api: tuple[str, str]) -> None:
    """That needs the scope which is named, and changes nothing."""
    table = builtin(api[0]).api(api[1]).table
    for scope, path in CALLS[api]:
        found = table.match("GET", parse(path.encode(), mount="m"))
        assert isinstance(found, Match)
        assert scope == found.row.scope
        assert not found.row.mutating


def number(snippet: Snippet) -> str:
    return " ".join([snippet.language, snippet.client, *(api for _, api in snippet.serves)])


@pytest.mark.parametrize("snippet", ALL, ids=number)
def test_every_word_is_filled_in(snippet: Snippet) -> None:
    """Nothing is left of the marks, Python can be read, and no line is wider than a page."""
    mounts = {api: mount(broker=api[0], api=api[1], scopes=[]) for api in CALLS}
    program = filled(snippet, mounts[snippet.serves[0] if snippet.serves else ("questrade", "main")])
    assert not re.search(r"@[A-Z]+@", program.code + program.before)
    assert max(map(len, program.code.splitlines())) <= 110
    if snippet.language == "Python":
        ast.parse(program.code)


def test_ids_are_unique() -> None:
    """On one page, for the buttons that copy."""
    for language in LANGUAGES:
        found = of(status(mount()), language)
        assert found is not None
        assert len(found.programs) == len({program.id for program in found.programs})


def test_the_page_of_documents_has_the_same_programs() -> None:
    """`docs/clients.md` is what `scripts/clients_page.py` writes."""
    page = (ROOT / "docs/clients.md").read_text("utf-8")
    assert page == on_page(page)
    assert [f"### {language}" for language in LANGUAGES] == re.findall(r"^### .+$", page, re.MULTILINE)
    with pytest.raises(ValueError, match="lost the marks"):
        on_page("nothing")


def rendered(language: str, *mounts: dict[str, Any], **changes: Any) -> str:
    environment = Environment(
        loader=FunctionLoader(lambda name: (TEMPLATES / name).read_text()), autoescape=True, undefined=StrictUndefined
    )
    shown = status(*mounts, **changes)
    return environment.get_template("connect.html.j2").render(
        connect=of(shown, language),
        status=shown,
        query={"span": "24h"},
        link=lambda language: f"./?language={language}",
    )


def test_the_fragment_has_a_button_for_each_program() -> None:
    """Escaped, with the language that is chosen, and the other fields of the address carried along."""
    page = rendered("C#", mount())
    assert "sealed class" not in page
    assert 'aria-current="true">C#' in page
    assert 'data-copy="connect-c-httpclient-questrade"' in page
    assert 'id="connect-c-httpclient-questrade"' in page
    assert '<input type="hidden" name="span" value="24h">' in page
    assert "new Uri(&#34;http://127.0.0.1:8080/questrade/&#34;)" in page
    assert "bearerd clients add NAME" in page
    assert "any text will do" in rendered("curl", mount(), open_to_all=True)
    assert "no mount to connect to" in rendered("curl")
    assert "under Streams" in rendered("curl", SOCKETS)
