from pathlib import Path

import pytest

from proxy.cli.lookup import PLACES, look_up, read
from tests.cli.support import invoke
from tests.messages import covered

PAGE = """\
# Some messages

## The first

- `it is … here`: so it is. See [more](other.md#x).
- `` `a` is no object. `` / `… is none,
  either`: write `{}`.

## The second

- `no … at all`

Both say
the same.
"""


def test_a_page_is_read_item_by_item() -> None:
    """Texts, explanation (of its own, or of the paragraph behind the list) and section; a link shows its address."""
    entries = list(read("some.md", PAGE))

    assert [("it is … here",), ("`a` is no object.", "… is none, either"), ("no … at all",)] == [
        e.texts for e in entries
    ]
    assert ["so it is. See more (other.md#x).", "write `{}`.", "Both say the same."] == [
        each.explanation for each in entries
    ]
    assert [("some", "The first"), ("some", "The first"), ("some", "The second")] == [
        (each.page, each.section) for each in entries
    ]


@pytest.mark.parametrize(
    ("asked", "section"),
    [
        ("The client bot has no rights on the mount alpaca.", "scope-denied"),
        ("no rights on the mount", "scope-denied"),
        ("error: No bearerd answers at /run/x/admin.sock (No such file).", "The server does not answer"),
        ("config.yaml:9:5: error: mounts.q.enviroment: unknown key 'enviroment'", "Keys and values"),
        ("/state/store.db is in use by process 4711", "Files and rights"),
        ("the broker refused the refresh token (400 invalid_grant)", "Why a login is needed"),
    ],
)
def test_a_message_is_found_as_it_was_printed(asked: str, section: str) -> None:
    """With its values, with what stands around it, or by some of its words."""
    assert section == look_up(asked)[0].section


def test_nothing_is_found_where_nothing_fits(tmp_path: Path) -> None:
    """Not for words that nobody prints, not for two letters, and not without pages."""
    assert [] == look_up("a cup of tea with milk")
    assert [] == look_up("no")
    assert [] == look_up("no rights on the mount", (tmp_path / "none",))


def test_every_entry_can_be_looked_up_and_says_something() -> None:
    """What the pages have is read here as the tests read it, and none of it is without a word of explanation."""
    folder = next(place for place in PLACES if place.is_dir())
    entries = [entry for page in folder.glob("*.md") for entry in read(page.name, page.read_text("utf-8"))]

    assert set(covered()) == {text for entry in entries for text in entry.texts}
    assert [] == [(entry.page, entry.texts[0]) for entry in entries if not entry.explanation]


def test_help_explains_a_message() -> None:
    """As text, quoted or not, and as data; what is unknown is wrong use and says what there is."""
    shown = invoke("help", "no", "rights", "on", "the", "mount")
    data = invoke("--json", "help", "no rights on the mount")

    assert "The client … has no rights on the mount …." in shown.stdout
    assert "docs/troubleshooting/http.md, scope-denied" in shown.stdout
    assert '"section": "scope-denied"' in data.stdout
    assert 2 == invoke("help", "a cup of tea with milk").exit_code
