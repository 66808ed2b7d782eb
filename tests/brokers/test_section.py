from proxy.brokers.section import Section
from proxy.config import Problem, parse_yaml

TEXT = """\
name: Lab
count: 3
ratio: 1.5
flag: true
list: [a, 2]
map: {x: one, y: 2}
empty:
minus: -1
deep:
  inner: {colour: red}
items:
  - {a: 1}
  - 7
"""


def _section() -> tuple[Section, list[Problem]]:
    problems: list[Problem] = []
    return Section(parse_yaml(TEXT, "lab.yaml"), (), problems), problems


def test_right_values_are_read() -> None:
    """Each reader gives the value of its kind and notes nothing."""
    section, problems = _section()
    assert "Lab" == section.text("name")
    assert 3 == section.whole("count")
    assert 1.5 == section.number("ratio")
    assert section.flag("flag") is True
    assert "red" == section.section("deep").section("inner").choice("colour", ("red", "blue"))
    assert ["inner"] == [name for name, _ in section.named("deep")]
    assert [] == problems


def test_missing_keys_are_nothing_and_no_problem() -> None:
    """A key that is not there gives None, no items and no problem."""
    section, problems = _section()
    found = [
        section.text("no"),
        section.flag("no"),
        section.number("no"),
        section.whole("no"),
        section.choice("no", ("a",)),
    ]
    assert [None] * 5 == found
    assert ((), {}, [], []) == (
        section.texts("no"),
        section.text_map("no"),
        list(section.listed("no")),
        list(section.named("no")),
    )
    assert [] == problems


def test_wrong_values_are_noted_with_their_place_and_reading_goes_on() -> None:
    """Every mistake has line, column, path and a way out."""
    section, problems = _section()
    section.text("count")
    section.flag("name")
    section.number("flag")
    section.whole("ratio")
    section.number("minus")
    section.text("empty")
    section.texts("list")
    section.text_map("map")
    section.section("name")
    section.choice("name", ("lab", "live"))
    section.section("deep").section("inner").choice("colour", ("blue",))
    section.section("deep").known(("inter",))
    section.needs("name", "title")
    [part.number("a") for part in section.listed("items")]
    section.fault(None, "is odd")
    assert [
        "lab.yaml:2:8: error: count: must be text, not a number, put it in quotes",
        "lab.yaml:1:7: error: name: must be true or false, not text, write `true` or `false`, without quotes",
        "lab.yaml:4:7: error: flag: must be a number, not true or false, write decimal digits without quotes",
        "lab.yaml:3:8: error: ratio: must be a whole number, write it without a decimal point",
        "lab.yaml:8:8: error: minus: is too small, write 0 or more",
        "lab.yaml:7:7: error: empty: has no value, give it one or remove the key",
        "lab.yaml:5:11: error: list.1: must be text, not a number, put it in quotes",
        "lab.yaml:6:18: error: map.y: must be text, not a number, put it in quotes",
        "lab.yaml:1:7: error: name: must be a mapping, not text, write `key: value` lines below it",
        "lab.yaml:1:7: error: name: is not one of lab, live, did you mean 'lab'?",
        "lab.yaml:10:19: error: deep.inner.colour: is not one of blue, write blue",
        "lab.yaml:10:3: error: deep.inner: unknown key 'inner', did you mean 'inter'?",
        "lab.yaml: error: title: is missing, add `title: …`",
        "lab.yaml:13:5: error: items.1: must be a mapping, not a number, write `key: value` lines below it",
        "lab.yaml: error: is odd",
    ] == [str(problem) for problem in problems]
