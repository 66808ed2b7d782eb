"""The documents say what the program does."""

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy.brokers import catalogue
from proxy.cli.topics import BROKERS, environment
from proxy.config import ConfigInvalid, Problem, parse_yaml
from proxy.errors import KINDS
from proxy.settings import read
from proxy.simulator.plain.reading import read_setup
from proxy.store.files import write_private
from proxy.tokens.grant import State

DOCS = Path(__file__).resolve().parent.parent / "docs"


def test_every_refusal_is_explained() -> None:
    """`docs/errors.md` has a row for each kind of refusal, with its status, code, name and title, and no other."""
    rows = re.findall(
        r"^\| (\d+) \| (\d+) \| `([a-z-]+)` \| (.+?) \| .+ \|$", (DOCS / "errors.md").read_text(), re.MULTILINE
    )

    assert [(str(kind.status), str(kind.code), kind.name, kind.title) for kind in KINDS.values()] == rows


def test_every_state_is_explained() -> None:
    """`docs/custody.md` has a row for each state that `bearerd status` can print, and no other."""
    rows = re.findall(
        r"^\| `([a-z-]+)` \| .+ \| (?:served|held|503).* \|$", (DOCS / "custody.md").read_text(), re.MULTILINE
    )

    assert sorted(state.value for state in State) == sorted(rows)


def test_every_variable_of_the_readme_is_read() -> None:
    """Each name in the README's table of the environment is one that `bearerd help environment` lists."""
    section = (DOCS.parent / "README.md").read_text().partition("\n## Environment\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", section)) - {"HTTP_PROXY", "BEARERD_A__B"}
    known = set(re.findall(r"[A-Z][A-Z_]+", environment()))

    assert "BEARERD_LOGIN_TOKEN_FILE" in named
    assert set() == named - known


def test_the_readme_counts_the_clients() -> None:
    """Those of the tables in `docs/clients.md`, and those of them that are marked as tested."""
    clients = re.findall(r"^\| (?!client |-)(.+?) \|", (DOCS / "clients.md").read_text(), re.MULTILINE)
    tested = [client for client in clients if client.endswith(", tested")]

    counts = f"for each of {len(clients)} clients; {len(tested)} of them, and curl,"
    assert counts in " ".join((DOCS.parent / "README.md").read_text().split())


def _blocks(page: str) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def _mistakes(text: str) -> list[Problem]:
    document = parse_yaml(text, "block")
    return [*document.problems, *catalogue(document.part(("brokers",)))[1]]


@pytest.mark.parametrize("index", range(len(_blocks("brokers.md"))))
def test_every_broker_on_the_page_can_be_loaded(index: int) -> None:
    """The very blocks of `docs/brokers.md` are definitions without a mistake."""
    assert [] == _mistakes(_blocks("brokers.md")[index])


def _sections(page: str) -> dict[str, str]:
    """Heading → text of a page's sections of the second level."""
    parts = (DOCS / page).read_text().split("\n## ")[1:]
    return {part.partition("\n")[0]: part for part in parts}


CONFIGURATIONS = [
    (page, heading, index)
    for page in ("logins.md", "clients.md", "guards.md", "tls.md")
    for heading, text in _sections(page).items()
    for index in range(len(re.findall(r"^```yaml$", text, re.MULTILINE)))
]


@pytest.mark.parametrize(("page", "heading", "index"), CONFIGURATIONS)
def test_every_configuration_on_the_pages_can_be_loaded(page: str, heading: str, index: int, tmp_path: Path) -> None:
    """With the login that it chooses; a block without mounts belongs to those of the section's first one."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", _sections(page)[heading], re.MULTILINE | re.DOTALL)
    text = blocks[index] if "mounts:" in blocks[index] else blocks[0] + blocks[index]
    for name in re.findall(r"client_secret_file: ([\w.]+)", text):
        write_private(tmp_path / name, b"a-secret-of-an-application")
    file = tmp_path / "config.yaml"
    file.write_text(f"version: 1\n{text}" if "clients:" in text else f"version: 1\nclients: none\n{text}")

    settings = read(file, {"HOME": str(tmp_path)})

    assert set(settings.grants) == {settings.config.grant_of(name) for name in settings.config.mounts}
    assert {name: grant.login for name, grant in settings.config.grants.items()} == {
        name: settings.grants[name].login.name for name in settings.config.grants
    }


def test_every_broker_of_the_help_can_be_loaded() -> None:
    """So are the indented blocks of `bearerd help brokers`."""
    blocks = [textwrap.dedent(found) for found in re.findall(r"^(?: {4}.*\n)+", BROKERS, re.MULTILINE)]

    assert ["brokers:"] * 2 == [block.splitlines()[0] for block in blocks]
    assert [] == [problem for block in blocks for problem in _mistakes(block)]


# A key that nobody knows in each mapping of a definition: the errors list the known ones.
DEFINITION = """\
brokers:
  own:
    zzzz: 0
    logins: {a: {zzzz: 0, kind: secret, placement: {zzzz: 0, query: q}}}
    environments: {a: {zzzz: 0, logins: {a: {zzzz: 0}}}}
    apis: {a: {zzzz: 0, rows: [{zzzz: 0, order: {zzzz: 0}}]}}
    orders: {a: {zzzz: 0}}
    dead_token: [{zzzz: 0}]
    rate_limits: {a: {zzzz: 0}}
    rate_headers: {zzzz: 0}
"""
MAPPINGS = {
    "brokers.own": "A definition",
    "brokers.own.logins.a": "A login",
    "brokers.own.environments.a": "An environment",
    "brokers.own.environments.a.logins.a": "The addresses of one login",
    "brokers.own.apis.a": "An API",
    "brokers.own.apis.a.rows.0": "A row",
    "brokers.own.apis.a.rows.0.order": "What a row has to do with orders",
    "brokers.own.orders.a": "How an order is written",
    "brokers.own.dead_token.0": "A rule about an answer",
    "brokers.own.rate_limits.a": "A rate",
    "brokers.own.rate_headers": "The headers that tell of a rate",
}
SIMULATOR = "zzzz: 0\nlogin: {zzzz: 0, kind: secret, secret: [a]}\ncalls: []\n"


def _known(problems: list[Problem]) -> dict[str, set[str]]:
    """Path of a mapping → the keys that it may have, as the error about an unknown one lists them."""
    found: dict[str, set[str]] = {}
    for problem in problems:
        path, _, key = problem.path.rpartition(".")
        if key == "zzzz" and problem.message == "unknown key 'zzzz'":
            found[path] = set((problem.fix or "").removeprefix("known here: ").split(", "))
    return found


def _tables(text: str) -> list[list[str]]:
    """The first column of each table of keys, in order."""
    parts = text.split("| key | what it says |\n|---|---|\n")[1:]
    return [re.findall(r"^\| `([a-z_]+)` \|", part.partition("\n\n")[0], re.MULTILINE) for part in parts]


def _below(heading: str) -> str:
    return (DOCS / "brokers.md").read_text().partition(f"\n### {heading}\n")[2].partition("\n#")[0]


def test_every_key_of_a_definition_is_explained() -> None:
    """Each table has the keys that are read at its place, each once, and no other."""
    known: Mapping[str, set[str]] = _known(_mistakes(DEFINITION))

    assert {"brokers.own.logins.a.placement": {"headers", "query"}} | {
        path: set(_tables(_below(heading))[0]) for path, heading in MAPPINGS.items()
    } == known
    for heading in MAPPINGS.values():
        keys = _tables(_below(heading))[0]
        assert len(keys) == len(set(keys))


def test_the_calls_of_a_partner_are_explained() -> None:
    """They stand in one row; only a whole definition is looked at so closely."""
    known = _known(_mistakes(_blocks("brokers.md")[0] + "    partner_oauth: {zzzz: accounts}\n"))
    row = next(line for line in _below("A definition").splitlines() if line.startswith("| `partner_oauth`"))

    assert [] == [key for key in known["brokers.desk.partner_oauth"] if f"`{key}`" not in row]


def test_every_key_of_a_simulated_broker_is_explained(tmp_path: Path) -> None:
    """The last two tables have the keys of the file and those of its login."""
    file = tmp_path / "broker.yaml"
    file.write_text(SIMULATOR)
    with pytest.raises(ConfigInvalid) as caught:
        read_setup(file)
    known = _known(list(caught.value.problems))

    assert [known[""], known["login"]] == [set(keys) for keys in _tables((DOCS / "brokers.md").read_text())[-2:]]


ROOT = DOCS.parent
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "bench").glob("*.md")])


def test_the_index_names_every_page() -> None:
    """`docs/README.md`; what lies in a folder below has an index of its own."""
    index = (DOCS / "README.md").read_text()
    assert [] == [page.name for page in DOCS.glob("*.md") if page.name != "README.md" and f"({page.name})" not in index]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """To a file that there is, and to a heading or anchor in it."""
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(page.read_text())):
        if ":" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
            lost.append(target)
    assert [] == lost


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```|`[^`\n]+`", "", text, flags=re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings, and those that are written out."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found: dict[str, int] = {}
    names = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        names.add(f"{slug}-{found[slug]}" if slug in found else slug)
        found[slug] = found.get(slug, 0) + 1
    return names
