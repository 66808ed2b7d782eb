"""The documents say what the program does."""

import re
from pathlib import Path

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
