"""What answers say of a rate limit."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gate.ratehead import Heard, hear, is_unix, reset_in, retry_in, wanted

NAMES = wanted({"limit": "x-limit", "remaining": "x-left", "used": "x-used", "reset": "x-reset"})
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
NOON = 784_111_777.0  # that date, as Unix time


def test_a_brokers_own_headers_are_found_in_any_letter_case() -> None:
    """The first of a name counts; headers of no interest are passed over."""
    headers = [(b"X-Limit", b"120"), (b"x-LEFT", b"7"), (b"X-Left", b"9"), (b"X-Reset", b"5"), (b"Server", b"x")]
    heard = hear([*headers, (b"Date", DATE), (b"Retry-After", b"3")], NAMES)
    assert Heard(120, 7, b"5", b"3", DATE) == heard
    assert Heard() == hear([(b"Server", b"x")], NAMES)


def test_what_is_left_follows_from_what_was_used() -> None:
    """If the broker does not say it itself."""
    assert 20 == hear([(b"x-limit", b"120"), (b"x-used", b"100")], NAMES).remaining
    assert 0 == hear([(b"x-limit", b"120"), (b"x-used", b"121")], NAMES).remaining
    assert 5 == hear([(b"x-limit", b"120"), (b"x-used", b"100"), (b"x-left", b"5")], NAMES).remaining
    assert hear([(b"x-used", b"100")], NAMES).remaining is None


@pytest.mark.parametrize(
    "value",
    [b"", b"-1", b"1.5", b"soon", b"0x1", b"1" * 13, b"\xd9\xa1", b" 1"],
    ids=["empty", "negative", "fraction", "word", "hexadecimal", "too long", "Arabic digits", "blank"],
)
def test_what_is_no_count_is_as_good_as_nothing(value: bytes) -> None:
    """Neither limit nor rest."""
    heard = hear([(b"x-limit", value), (b"x-left", value)], NAMES)
    assert (None, None) == (heard.limit, heard.remaining)


def test_a_limit_of_nothing_is_none() -> None:
    """A rest of nothing is one."""
    heard = hear([(b"x-limit", b"0"), (b"x-left", b"0")], NAMES)
    assert (None, 0) == (heard.limit, heard.remaining)


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        (b"%d" % (NOON + 40), 40.0),  # Questrade, Alpaca
        (b"%d" % ((NOON + 40) * 1000), 40.0),  # Tradier
        (b"%d" % ((NOON + 40) * 1000 + 1), 40.001),
        (b"40", 40.0),  # the IETF's draft
        (b"0.5", 0.5),
        (b"%d" % (NOON - 40), -40.0),
    ],
    ids=["seconds", "milliseconds", "odd milliseconds", "from now", "half a second", "past"],
)
def test_a_moment_is_told_in_several_ways(reset: bytes, seconds: float) -> None:
    """The size of the number says in which; it is held against the broker's clock, however wrong ours is."""
    for wall in (0.0, NOON, NOON + 1e6):
        assert seconds == pytest.approx(reset_in(Heard(reset=reset, date=DATE), wall))
    assert seconds == pytest.approx(reset_in(Heard(reset=reset), NOON))
    assert is_unix(reset) == (len(reset) > 3)


@pytest.mark.parametrize(
    "reset",
    [b"", b"soon", b"-5", b"1e9", b"NaN", b"inf", b"1" * 16, b"5 "],
    ids=["empty", "word", "negative", "exponent", "NaN", "infinity", "too long", "blank"],
)
def test_what_is_no_moment_is_as_good_as_nothing(reset: bytes) -> None:
    """Whatever else the answer holds."""
    assert reset_in(Heard(reset=reset, date=DATE), NOON) is None
    assert not is_unix(reset)


def test_the_size_of_a_number_says_what_it_is() -> None:
    """A hundred million is a moment, of which a thousand times as much are milliseconds."""
    assert [False, True] == [is_unix(text) for text in (b"99999999", b"100000000")]
    told = [reset_in(Heard(reset=text), 0.0) for text in (b"99999999", b"100000000", b"99999999999", b"100000000000")]
    assert [99_999_999.0, 1e8, 99_999_999_999.0, 1e8] == told
    assert [1.0, 99_999_998.0] == [reset_in(Heard(reset=b"100000000"), wall) for wall in (1e8 - 1, 2.0)]


def test_a_date_is_no_novel() -> None:
    """What is far longer than one is not looked at."""
    read = [reset_in(Heard(reset=b"%d" % NOON, date=DATE + b" " * more), 1.0) for more in (11, 12)]
    assert [0.0, NOON - 1] == read
    assert NOON - 1 == reset_in(Heard(reset=b"%d" % NOON, date=b"\xff"), 1.0)


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine nine hours ahead of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("tokyo")
@pytest.mark.parametrize(
    "date",
    [DATE, b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994", b"Sun, 06 Nov 1994 08:49:37 -0000"],
    ids=["as today", "RFC 850", "asctime", "no zone"],
)
def test_a_date_means_the_same_moment_wherever_this_machine_stands(date: bytes) -> None:
    """All three forms that HTTP has had are UTC, also the one that does not say so."""
    assert 40.0 == reset_in(Heard(reset=b"%d" % (NOON + 40), date=date), 1.0)


@pytest.mark.parametrize(
    ("retry", "date", "seconds"),
    [
        (b"30", None, 30.0),
        (b"0.5", None, 0.5),
        (b"0", DATE, None),
        (b"Sun, 06 Nov 1994 08:50:37 GMT", DATE, 60.0),
        (b"Sun, 06 Nov 1994 08:50:37 GMT", None, None),
        (b"Sun, 06 Nov 1994 08:48:37 GMT", DATE, None),
        (DATE, DATE, None),
        (b"Sun, 99 Nov 1994 08:48:37 GMT", DATE, None),
        (b"soon", DATE, None),
        (b"9" * 10, DATE, None),
        (None, DATE, None),
    ],
    ids=["seconds", "fraction", "0", "date", "date alone", "past", "now", "no date", "word", "for ever", "nothing"],
)
def test_retry_after_is_seconds_or_a_date(retry: bytes | None, date: bytes | None, seconds: float | None) -> None:
    """A date is held against the broker's own (RFC 9110, section 10.2.3)."""
    assert seconds == retry_in(Heard(retry=retry, date=date))


@given(st.lists(st.tuples(st.sampled_from([b"x-limit", b"x-left", b"x-reset", b"date", b"retry-after"]), st.binary())))
def test_nothing_that_a_broker_sends_is_an_error(headers: list[tuple[bytes, bytes]]) -> None:
    """Any bytes in any header."""
    heard = hear(headers, NAMES)
    seconds, wait = reset_in(heard, NOON), retry_in(heard)
    assert seconds is None or seconds == seconds  # noqa: PLR0124  no NaN
    assert wait is None or wait > 0


def test_names_are_known_in_every_spelling_and_fill_no_memory() -> None:
    """A broker that writes another name in each answer is still heard."""
    names = wanted({"remaining": "X-Left"})
    for number in range(2000):
        heard = hear([(b"X-%d" % number, b"1"), (b"x-lEFt", b"7"), (b"X-Left", b"8"), (b"DATE", b"d")], names)
        assert (7, b"d") == (heard.remaining, heard.date)
    assert len(names.spelled) < 300
    assert {b"x-left": "remaining", b"retry-after": "retry", b"date": "date"} == dict(names)


@pytest.mark.parametrize("text", [b"", b"-1", b"+1", b" 1", b"1.0", b"1e3", b"\xb2", b"1_0", b"1" * 13])
def test_a_count_is_up_to_twelve_digits(text: bytes) -> None:
    """What is none says nothing."""
    assert hear([(b"X-Left", text)], wanted({"remaining": "X-Left"})).remaining is None
