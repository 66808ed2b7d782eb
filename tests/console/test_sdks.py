"""The table of libraries: each that the page of clients names has a program, in the version that is tested."""

import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest

from proxy.console.sdks import NODE, OTHERS, PYTHON, UNTRIED, Snippet

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/clients.md").read_text("utf-8")
LEGACY = "alpaca-trade-api 3.2.0"  # in a virtual environment of its own


def clients() -> set[str]:
    """Those of the tables, without what is said of them."""
    found = re.findall(r"^\| (?!client |-)(.+?)(?: \(npm\))?((?: [\d.]+)?)(, tested)? \|", PAGE, re.MULTILINE)
    return {f"{name.removesuffix(' (npm)')}{number}" for name, number, _ in found}


def test_every_client_of_the_tables_has_a_program() -> None:
    """And the other way round: no library is on the console's page alone."""
    named = {name.replace("Alpaca.Markets (C#)", "Alpaca.Markets") for name in clients()}
    assert named == {snippet.client for snippet in (*PYTHON, *NODE, *OTHERS)}


@pytest.mark.parametrize("client", sorted({snippet.client for snippet in PYTHON} - {LEGACY}))
def test_a_python_library_is_installed_in_the_version_that_is_named(client: str) -> None:
    """What a person installs may do otherwise."""
    name, _, number = client.partition(" ")
    assert number == version(name)


@pytest.mark.parametrize("snippet", NODE, ids=lambda snippet: str(snippet.client).rpartition("/")[2])
def test_an_npm_package_is_locked_in_the_version_that_is_named(snippet: Snippet) -> None:
    """Under whatever name it is installed."""
    wanted = json.loads((ROOT / "tests/clients/package.json").read_text())["dependencies"]
    name, _, number = snippet.client.rpartition(" ")
    assert {number, f"npm:{name}@{number}"} & set(wanted.values())


def test_what_is_not_run_says_so() -> None:
    """Where neither language nor library is at hand; everything of Python and Node.js is run."""
    assert {True} == {UNTRIED in snippet.note for snippet in OTHERS}
    assert {False} == {UNTRIED in snippet.note for snippet in (*PYTHON, *NODE)}


@pytest.mark.parametrize(
    "snippet", [*PYTHON, *NODE, *OTHERS], ids=lambda snippet: f"{snippet.client} {snippet.serves[0][1]}"
)
def test_no_program_holds_a_key(snippet: Snippet) -> None:
    """It comes from the environment, or from a file or variables that bearerd has made."""
    assert "BEARERD_KEY" in snippet.code or snippet.before or snippet.under
    assert snippet.serves
    assert "@" in snippet.code + snippet.before or snippet.under
