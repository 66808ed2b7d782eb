import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gate.tracecontext import Parent, lines, pairs, parent_of, without

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SOUND = f"00-{TRACE}-{SPAN}-01"


def _parent(text: str | bytes, *states: str) -> Parent | None:
    raw = text if isinstance(text, bytes) else text.encode("latin-1")
    return parent_of([(b"Host", b"h"), (b"TraceParent", raw), *((b"tracestate", each.encode()) for each in states)])


def test_a_parent_is_read() -> None:
    """Both identifiers, the flags that are known, and the list of others' words, which may come in several headers."""
    assert Parent(TRACE, SPAN, 1, "a=1,b@c=2") == _parent(SOUND, "a=1 , ,", "b@c=2")
    assert Parent(TRACE, SPAN, 3) == _parent(f"  00-{TRACE}-{SPAN}-ff\t")
    found = _parent(f"00-{TRACE}-{SPAN}-00")
    assert found is not None
    assert not found.sampled
    assert None is parent_of([(b"tracestate", b"a=1")])


@pytest.mark.parametrize(
    "text",
    [
        "", "00", SOUND[:-1], f"{SOUND}0", f"{SOUND}-", f"{SOUND}-00", f"0{SOUND}", SOUND.upper(), f"ff{SOUND[2:]}",
        f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", SOUND.replace("-", "_"), f"00-{TRACE}-{SPAN}-0g",
        f"00-{TRACE[:-1]} -{SPAN}-01", f"{SOUND}, {SOUND}", f"00-{TRACE}-{SPAN}", f"00-{SPAN}-{TRACE}-01",
        f"+0-{TRACE}-{SPAN}-01", f"00-{TRACE[:-1]}\xb2-{SPAN}-01", f"01-{TRACE}-{SPAN}-01x", f"01-{TRACE}-{SPAN}-01\n",
    ],
    ids=[
        "empty", "version-alone", "short", "long", "dash", "more", "shifted", "upper", "ff", "no-trace", "no-span",
        "underscores", "no-hex", "blank", "two", "no-flags", "swapped", "sign", "digit", "tail", "line-end",
    ],
)  # fmt: skip
def test_what_is_malformed_is_not_there(text: str) -> None:
    """Not a character is forgiven, and nothing is guessed."""
    assert None is _parent(text, "a=1")


def test_two_parents_are_none() -> None:
    """Not even if they are the same."""
    assert None is parent_of([(b"traceparent", SOUND.encode())] * 2)


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    """What follows the flags may be anything behind a dash, and of the flags only the first bit is known."""
    assert Parent(TRACE, SPAN, 1) == _parent(f"01-{TRACE}-{SPAN}-03-what-comes.later")


@pytest.mark.parametrize(
    "state",
    [
        "a", "=1", "A=1", "a=1,a=2", "a=", "a=b=c", "a=\x7f", ",".join(f"k{n}=1" for n in range(33)), f"a={'x' * 257}",
        ",".join(f"k{n}={'v' * 200}" for n in range(3)), "a=1 2 ,b= ,c=\t1", f"a=1{',' * 2046}",
    ],
    ids=[
        "no-value", "no-key", "upper", "twice", "empty", "equals", "control", "many", "long", "long-all", "tab",
        "blanks",
    ],
)  # fmt: skip
def test_a_malformed_state_leaves_the_parent(state: str) -> None:
    """It is dropped whole, and the parent counts."""
    assert Parent(TRACE, SPAN, 1) == _parent(SOUND, state)


def test_what_goes_on_is_what_was_read() -> None:
    """Written, and read again, as pairs and as bytes; without a state there is no header for it."""
    parent = Parent(TRACE, SPAN, 1, "a=1")
    assert parent == parent_of([(name.encode(), value.encode()) for name, value in pairs(parent)])
    assert f"traceparent: {SOUND}\r\ntracestate: a=1\r\n".encode() == lines(parent)
    assert [("traceparent", SOUND)] == pairs(Parent(TRACE, SPAN, 1))
    assert [("A", "b")] == without([("Traceparent", "x"), ("A", "b"), ("TRACESTATE", "y")])


@given(st.binary(max_size=80), st.lists(st.binary(max_size=40), max_size=4))
def test_nothing_upsets_it(text: bytes, states: list[bytes]) -> None:
    """Whatever a client sends: what is read can be written as printable ASCII, and comes back the same."""
    found = parent_of([(b"traceparent", text), *((b"tracestate", each) for each in states)])
    if found is not None:
        assert lines(found).decode("ascii").replace("\r\n", "").isprintable()
    state = parent_of([(b"traceparent", SOUND.encode()), *((b"tracestate", each) for each in states)])
    assert state is not None
    again = parent_of([(name.encode(), value.encode()) for name, value in pairs(state)])
    assert state == again
