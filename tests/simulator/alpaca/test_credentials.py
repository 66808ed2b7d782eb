"""Which credential is worth something where."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from proxy.simulator.alpaca.credentials import Credentials, Host, KeyPair, Verdict, granted
from tests.simulator.alpaca.support import BROKER, DATA, LIVE, PAPER, STREAM, Client, basic, bearer, error, pair_headers
from tests.simulator.support import NOON

WRONG = (401, 40110000, "request is not authorized")
HOSTS = (PAPER, LIVE, DATA, BROKER, STREAM)


def _judge(credentials: Credentials, host: Host, *pairs: tuple[str, str]) -> Verdict:
    return credentials.judge(host, CIMultiDictProxy(CIMultiDict(pairs)), NOON)


def _good(credentials: Credentials, headers: dict[str, str]) -> list[str]:
    return [host for host in HOSTS if _judge(credentials, host, *headers.items()).good]


@pytest.mark.parametrize(("owner", "hosts"), [(PAPER, ["paper", "data", "stream"]), (LIVE, ["live", "data", "stream"])])
def test_a_key_pair_is_good_for_its_trading_host_and_for_data(owner: Host, hosts: list[str]) -> None:
    """Never for the other trading host, and not for the Broker API."""
    credentials = Credentials()

    assert hosts == _good(credentials, pair_headers(credentials.keys[owner]))


def test_a_connect_token_is_good_where_its_accounts_are() -> None:
    """One for paper does not open the live host; data has to be asked for as a scope."""
    credentials = Credentials()
    token = credentials.connect.login("app", ("trading", "env:paper"), NOON, None, refreshable=False).access

    assert ["paper", "data", "stream"] == _good(credentials, bearer(token))
    assert frozenset({"trading", "account:read"}) == _judge(credentials, PAPER, *bearer(token).items()).scopes


def test_a_minted_token_is_good_for_data_and_broker_until_its_end() -> None:
    """Not for trading, as documented."""
    credentials = Credentials()
    token = credentials.minted.mint("app", (), NOON, 899).access

    assert ["data", "broker", "stream"] == _good(credentials, bearer(token))
    assert "foreign" == _judge(credentials, PAPER, *bearer(token).items()).kind
    late = CIMultiDictProxy(CIMultiDict(bearer(token)))
    assert "stale" == credentials.judge(DATA, late, NOON + 899).kind


def test_the_broker_key_goes_as_basic_to_the_broker_host() -> None:
    """And to the streams of data, as documented."""
    credentials = Credentials()

    assert ["broker", "stream"] == _good(credentials, basic(credentials.broker))
    assert [] == _good(credentials, pair_headers(credentials.broker))


@pytest.mark.parametrize(
    "header",
    ["Bearer brd_key", "bearer x", "Bearer", "Bearer a b", "Basic !!", "Basic Zm9v", "Token x", ""],
)
def test_what_was_never_given_out_is_foreign(header: str) -> None:
    """Malformed ones too."""
    credentials = Credentials()

    assert {"foreign"} == {_judge(credentials, host, ("Authorization", header)).kind for host in HOSTS}


def test_half_a_key_pair_is_foreign() -> None:
    """Either header alone presents something."""
    credentials = Credentials()
    for name, value in pair_headers(credentials.keys[PAPER]).items():
        assert Verdict("foreign") == _judge(credentials, PAPER, (name, value))


def test_no_credential_is_none() -> None:
    """Whatever other headers there are."""
    assert Verdict("none") == _judge(Credentials(), PAPER, ("Cookie", "a=b"))


def test_two_credentials_are_refused_though_each_is_good() -> None:
    """Two kinds, or one kind twice: a proxy has to send exactly one."""
    credentials = Credentials()
    keys = list(pair_headers(credentials.keys[PAPER]).items())
    token = credentials.connect.login("app", ("data", "env:paper"), NOON, None, refreshable=False).access
    one = ("Authorization", f"Bearer {token}")

    for pairs in ([*keys, one], [one, one], [*keys, keys[0]]):
        assert Verdict("foreign", several=True) == _judge(credentials, PAPER, *pairs)


async def test_two_credentials_are_counted(client: Client) -> None:
    """401, and a counter of its own in the state."""
    both = client.credential(PAPER) | bearer("brd_key")

    assert WRONG == error(await client.get(PAPER, "/v2/clock", both))
    state = await client.state()
    assert (1, 1) == (state["several_credentials"], state["hosts"]["paper"]["several_credentials"])
    assert 1 == state["authorizations"]["foreign"]


def test_marks_of_accounts_are_no_scopes() -> None:
    """They are left out of the answer that a client sees."""
    issued = Credentials().connect.login("app", ("data", "env:live", "env:paper"), NOON, None, refreshable=False)

    assert ("data",) == granted(issued)


def test_secrets_are_not_shown() -> None:
    """The repr of a pair has its id only."""
    assert "KeyPair(id='PK1')" == repr(KeyPair("PK1", "secret"))


def test_minted_tokens_have_three_parts() -> None:
    """They look like signed JWTs."""
    token = Credentials().minted.mint("app", (), NOON, 899).access

    assert 3 == len(token.split("."))
    assert token.startswith("ey")


async def test_a_first_frame_is_worth_what_a_header_is(client: Client) -> None:
    """Each kind of token under its own name, keys by their id, nothing as nothing."""
    own, now = client.alpaca.credentials, client.clock.time
    connect, machine, pair = await client.connect(), await client.mint(), own.keys[PAPER]
    rows = [
        (STREAM, "oauth", connect, "current"),
        (STREAM, "access_token", machine, "current"),
        (STREAM, "access_token", connect, "foreign"),
        (STREAM, "oauth", machine, "foreign"),
        (STREAM, pair.id, pair.secret, "current"),
        (PAPER, pair.id, pair.secret, "current"),
        (LIVE, pair.id, pair.secret, "foreign"),
        (STREAM, pair.id, "", "foreign"),
        (STREAM, "", "", "none"),
    ]
    assert [kind for *_, kind in rows] == [
        own.judge_frame(host, key, secret, now).kind for host, key, secret, _ in rows
    ]
    assert (True, True, True) == tuple(own.still_good(secret, now) for secret in (connect, machine, pair.secret))
    own.minted.expire()
    assert (True, False) == (own.still_good(connect, now), own.still_good(machine, now))
