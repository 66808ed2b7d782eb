import string

from hypothesis import given
from hypothesis import strategies as st

from proxy.config import parse_yaml
from proxy.config.plain import plain, to_yaml
from proxy.secret import Secret

TEXT = st.text(string.printable + "äλ→", max_size=20).filter(lambda text: "\x0b" not in text and "\x0c" not in text)
SCALAR = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXT
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(TEXT.filter(lambda key: key != "<<"), VALUE, max_size=4))
def test_plain_data_survives_the_way_through_yaml(data: dict[str, object]) -> None:
    """What is written is what is read."""
    found = parse_yaml(to_yaml(data), "again.yaml")
    assert (data, ()) == (found.data, found.problems)


def test_secrets_become_stars() -> None:
    """Wherever they are nested."""
    assert {"a": ["***"]} == plain({"a": (Secret("canary"),)})


def test_numbers_stay_decimal() -> None:
    """Large numbers are not shortened, whole seconds lose their point."""
    assert "a: 1048576\nb: 20\nc: 0.5\n" == to_yaml({"a": 1048576, "b": 20.0, "c": 0.5})


def test_origins_stand_behind_the_values() -> None:
    """Sections have none, their values do."""
    assert "a:\n  b: 1  # a.b\nc: {}  # c\n" == to_yaml({"a": {"b": 1}, "c": {}}, lambda path: ".".join(map(str, path)))
