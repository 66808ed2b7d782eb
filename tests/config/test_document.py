import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Document, Mark, parse_yaml
from proxy.config.document import _Loader, quick

ROOT = Path(__file__).resolve().parents[2]


def _texts(document: Document) -> list[str]:
    return [str(problem) for problem in document.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True), ("false", False), ("null", None), ("~", None), ("", None),
        ("0", 0), ("-12", -12), ("1.5", 1.5), ("+7", 7),
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("True", "True"),
        ("1:30", "1:30"), ("0600", "0600"), ("0x10", "0x10"), ("1_000", "1_000"), (".5", ".5"), ("1e3", "1e3"),
        (".inf", ".inf"), ("2026-11-21", "2026-11-21"), ('"12"', "12"), ("'true'", "true"), ("9" * 19, "9" * 19),
    ],
)  # fmt: skip
def test_only_plain_words_have_a_meaning(text: str, expected: object) -> None:
    """What YAML would guess at stays text."""
    found = parse_yaml(f"a: {text}\n", "c.yaml")
    assert ({"a": expected}, ()) == (found.data, found.problems)


def test_block_text_is_text() -> None:
    """A literal block is never read as a number."""
    assert {"a": "12\n"} == parse_yaml("a: |\n  12\n", "c.yaml").data


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff"])
def test_an_empty_file_is_an_empty_mapping(text: str) -> None:
    """No settings at all is no mistake."""
    found = parse_yaml(text, "c.yaml")
    assert ({}, ()) == (found.data, found.problems)


def test_every_entry_has_its_place() -> None:
    """Scalars and items are marked at their value, mappings and lists at their key."""
    found = parse_yaml("mounts:\n  questrade:\n    scopes: [read_acc, trade]\n    port: 8180\n", "c.yaml")
    places: dict[tuple[str | int, ...], Mark] = {
        ("mounts",): Mark(1, 1),
        ("mounts", "questrade", "scopes"): Mark(3, 5),
        ("mounts", "questrade", "scopes", 1): Mark(3, 24),
        ("mounts", "questrade", "port"): Mark(4, 11),
    }
    assert places == {path: found.mark(path) for path in places}
    assert Mark(4, 5) == found.key_mark(("mounts", "questrade", "port"))
    assert Mark(3, 24) == found.key_mark(("mounts", "questrade", "scopes", 1))
    assert (None, None) == (found.mark(("clients",)), found.key_mark(("clients",)))
    assert Mark(2, 3) == found.near(("mounts", "questrade", "broker"))
    assert None is found.near(("clients",))
    assert ("    port: 8180", "") == (found.line(4), found.line(99))


def test_a_part_keeps_its_place_in_the_file() -> None:
    """Whoever gets only `brokers` still speaks of whole paths and real lines."""
    found = parse_yaml("version: 1\nbrokers:\n  mine:\n    scopez: {}\n", "c.yaml").part(("brokers",))
    assert {"mine": {"scopez": {}}} == found.data
    problem = found.problem(("mine", "scopez"), "unknown key", at_key=True)
    assert "c.yaml:4:5: error: brokers.mine.scopez: unknown key" == str(problem)
    assert {} == found.part(("other", "thing")).data


def test_what_hides_a_value_is_refused_all_at_once() -> None:
    """Duplicate keys, anchors, aliases, tags, merge keys and structured keys are each named."""
    text = "a: 1\nb: &x {c: 1}\na: 2\nd: *x\ne: !!python/name:os.system x\n<<: {f: 1}\n? [1]\n: 2\n"
    assert [
        "c.yaml:2:4: error: anchors (`&name`) are not read here, write the value out where it is used",
        "c.yaml:4:4: error: aliases (`*name`) are not read here, write the value out",
        "c.yaml:5:4: error: tags (`!name`) are not read here, remove the tag",
        "c.yaml:3:1: error: key 'a' is given twice (first on line 1), remove one of the two",
        "c.yaml:6:1: error: merge keys are not read here, write the values out",
        "c.yaml:7:3: error: a key must be text, put the list or mapping after the colon",
    ] == _texts(parse_yaml(text, "c.yaml"))


def test_aliases_do_not_multiply() -> None:
    """A file that would unfold to billions of entries stays small."""
    lines = ["a: &a [1, 1]"] + [
        f"{name}: &{name} [*{last}, *{last}]" for last, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    assert [None, None] == parse_yaml("\n".join(lines), "c.yaml").data["i"]


INDENTATION = "the indentation does not fit the lines above, indent keys of one level equally"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1, 2\nb: 3\n", "2:2: error: the list is not closed or lacks a comma, write [a, b]"),
        ("a: {b: 1\nc: 3\n", "2:2: error: the mapping is not closed or lacks a comma, write {a: 1, b: 2}"),
        ("a: b: c\n", "1:5: error: a second `: ` on one line, quote the text, or start a new line"),
        ("a: 'x\n", "2:1: error: a quote is not closed, add the closing quote"),
        ("a: @x\n", "1:4: error: text may not begin with this character, put the text in quotes"),
        ("a: 1\n---\nb: 2\n", "2:1: error: a second document, remove the `---` line and all after it"),
        ("[1]\n", "1:1: error: must be a mapping, not a list, write `key: value` lines"),
        ("just text\n", "1:1: error: must be a mapping, not text, write `key: value` lines"),
        ("a: 1\nb: \x00\n", "2:4: error: a control character, remove it"),
        ("a: 1\nb\nc: 1\n", "3:1: error: a line without a colon, write `key: value`"),
        ("- a\nb\n", "3:1: error: a line without a colon, write `key: value`"),
        ("a:\n    b: 1\n  c: 2\n", f"3:3: error: {INDENTATION}"),
        ("a: !x!y z\n", "1:4: error: text may not begin with `!`, put the text in quotes"),
        ('a: "\\q"\n', "1:6: error: an unknown escape in double quotes, use single quotes, or double the `\\`"),
        ("a: " + "[" * 90, "1:35: error: nested more than 32 levels deep, flatten it"),
        ("%FOO\n%YAML 9.9\n---\n", "2:1: error: not valid YAML, compare with config.example.yaml"),
    ],
)  # fmt: skip
def test_a_fault_of_the_grammar_is_explained(text: str, expected: str) -> None:
    """Each common syntax error says where it is and what to write instead."""
    found = parse_yaml(text, "c.yaml")
    assert ([f"c.yaml:{expected}"], {}) == (_texts(found), found.data)


def test_all_tabs_are_listed() -> None:
    """Tabs come in numbers: one run names them all."""
    found = parse_yaml("a:\n\tb: 1\n\tc: 2\n", "c.yaml")
    assert [Mark(2, 1), Mark(3, 1)] == [problem.mark for problem in found.problems]
    assert "c.yaml:2:1: error: a tab in the indentation, indent with spaces" == str(found.problems[0])


@given(st.text())
def test_no_text_makes_it_raise(text: str) -> None:
    """Whatever the file holds, there is a document or a problem with a sentence."""
    found = parse_yaml(text, "c.yaml")
    assert isinstance(found.data, dict)
    assert all(re.match(r"c\.yaml(:\d+:\d+)?: error: ", str(problem)) for problem in found.problems)


@pytest.mark.parametrize("file", sorted((ROOT / "proxy" / "brokers").glob("*.yaml")), ids=lambda file: file.name)
def test_our_own_files_are_read_quickly_and_alike(file: Path) -> None:
    """What comes with bearerd may be read by libyaml: the same data, with every mark at the same place."""
    text = file.read_text("utf-8")
    assert parse_yaml(text, file.name) == parse_yaml(text, file.name, ours=True)


def test_without_libyaml_there_is_one_way_to_read() -> None:
    """PyYAML can be built without it."""
    assert quick(libyaml=False) is _Loader
