"""The documents say what the program does."""

import re
from pathlib import Path

from proxy.cli.topics import environment
from proxy.errors import KINDS
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
