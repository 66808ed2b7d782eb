"""Which variables lead a program where: chosen mounts, addresses, credentials."""

from dataclasses import replace

import pytest

from proxy.cli.environment import CREDENTIALS, DEFAULT, Mounted, Variables, chosen, variables

URL = "http://127.0.0.1:8080"
KEY = "brd_KEY"


def mount(name: str, api: str = DEFAULT, *, environment: str = "paper", grant: str = "", broker: str = "") -> Mounted:
    """A mount of the broker that its name begins with."""
    broker = broker or name.partition("-")[0]
    return Mounted(name, broker, api, environment, grant or name, f"{URL}/{name}")


ALPACA = [mount("alpaca"), mount("alpaca-data", "data", grant="alpaca"), mount("alpaca-broker", "broker")]
LIVE = [
    mount("alpaca-live", environment="live"),
    mount("alpaca-live-data", "data", environment="live", grant="alpaca-live"),
]


def names(found: list[Mounted]) -> list[str]:
    return [mount.name for mount in found]


def of(mounts: list[Mounted], client: str = "bot") -> Variables:
    return variables(URL, mounts, key=KEY, client=client)


def test_each_api_of_each_broker_has_one_mount() -> None:
    """The first of its kind, where nobody said which."""
    mounts = [mount("questrade"), mount("questrade-spouse"), *ALPACA, *LIVE]

    assert ["questrade", "alpaca", "alpaca-data", "alpaca-broker"] == names(chosen(mounts))


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (["alpaca-live"], ["alpaca-live", "alpaca-live-data", "alpaca-broker"]),
        (["alpaca-live-data"], ["alpaca-live", "alpaca-live-data", "alpaca-broker"]),
        (["alpaca", "alpaca-live-data"], ["alpaca", "alpaca-live-data", "alpaca-broker"]),
        (["questrade-spouse"], ["questrade-spouse"]),
    ],
)
def test_a_named_mount_brings_those_that_go_with_it(named: list[str], expected: list[str]) -> None:
    """Of its broker only; same grant first, then same environment."""
    mounts = [mount("questrade"), mount("questrade-spouse"), *ALPACA, *LIVE]

    assert sorted(expected) == sorted(names(chosen(mounts, named)))


def test_the_variables_of_questrade() -> None:
    """Ours, and the two that stand for a token answer."""
    expected = {
        "BEARERD_URL": URL,
        "BEARERD_KEY": KEY,
        "QUESTRADE_API_SERVER": f"{URL}/questrade/",
        "QUESTRADE_ACCESS_TOKEN": KEY,
    }

    assert expected == of([mount("questrade")]).values


def test_the_variables_of_alpaca() -> None:
    """Every name that an SDK reads; keys as a pair, because an OAuth variable is read under two names."""
    expected = {
        "BEARERD_URL": URL,
        "BEARERD_KEY": KEY,
        "APCA_API_KEY_ID": "bot",
        "APCA_API_SECRET_KEY": KEY,
        "ALPACA_API_KEY": "bot",
        "ALPACA_SECRET_KEY": KEY,
        "ALPACA_API_SECRET": KEY,
        "APCA_API_BASE_URL": f"{URL}/alpaca",
        "APCA_TRADING_BASE_URL": f"{URL}/alpaca",
        "APCA_TRADING_KEY_ID": "bot",
        "APCA_TRADING_SECRET_KEY": KEY,
        "ALPACA_PAPER_TRADE": "true",
        "ALPACA_IS_PAPER": "true",
        "APCA_API_DATA_URL": f"{URL}/alpaca-data",
        "APCA_DATA_BASE_URL": f"{URL}/alpaca-data",
        "DATA_API_URL": f"{URL}/alpaca-data",
        "APCA_API_STREAM_URL": "ws://127.0.0.1:8080/alpaca-stream",
        "DATA_PROXY_WS": "ws://127.0.0.1:8080/alpaca-stream/v2",
        "DATA_CRYPTO_PROXY_WS": "ws://127.0.0.1:8080/alpaca-stream/v1beta3/crypto",
        "APCA_BROKER_BASE_URL": f"{URL}/alpaca-broker",
        "APCA_BROKER_KEY_ID": "bot",
        "APCA_BROKER_SECRET_KEY": KEY,
    }

    assert expected == of([*ALPACA, mount("alpaca-stream", "stream")]).values


def test_the_variables_of_tradier() -> None:
    """The REST address is the mount's own port where it has one; a practice account is one that is not live."""
    mounts = [
        Mounted("tradier", "tradier", DEFAULT, "live", "tradier", f"{URL}/tradier", "http://127.0.0.1:8180"),
        mount("tradier-stream", "stream"),
        mount("tradier-ws", "ws"),
    ]

    assert {
        "BEARERD_URL": URL,
        "BEARERD_KEY": KEY,
        "TRADIER_ACCESS_TOKEN": KEY,
        "TRADIER_API_KEY": KEY,
        "TRADIER_IS_PAPER": "false",
        "TRADIER_REST_BASE_URL": "http://127.0.0.1:8180",
        "TRADIER_STREAM_HTTP_BASE_URL": f"{URL}/tradier-stream",
        "TRADIER_WS_BASE_URL": "ws://127.0.0.1:8080/tradier-ws",
    } == of(mounts).values


def test_an_api_that_is_mounted_nowhere_does_not_lead_out_of_this_machine() -> None:
    """Its address is that of a mount that does not exist, whose refusal says so."""
    values = of([mount("alpaca-data", "data")]).values

    assert f"{URL}/no-alpaca-mount" == values["APCA_API_BASE_URL"]
    assert "ws://127.0.0.1:8080/no-alpaca-stream-mount" == values["APCA_API_STREAM_URL"]
    assert (KEY, "bot") == (values["APCA_API_SECRET_KEY"], values["APCA_API_KEY_ID"])
    assert not {"ALPACA_IS_PAPER", "APCA_BROKER_SECRET_KEY"} & values.keys()


@pytest.mark.parametrize("mounts", [[mount("questrade")], ALPACA, [mount("tradier")], [mount("own")]], ids=repr)
def test_no_credential_is_left_as_it_was(mounts: list[Mounted]) -> None:
    """Each is set or taken away; the OAuth ones, which would win over keys, always go."""
    found = of(mounts)
    credentials = {name for names in CREDENTIALS.values() for name in names}

    assert credentials <= found.values.keys() | set(found.unset)
    assert not found.values.keys() & set(found.unset)
    assert {"APCA_API_OAUTH", "APCA_API_OAUTH_TOKEN", "ALPACA_OAUTH_TOKEN", "TRADIER_TOKEN"} <= set(found.unset)


def test_only_what_is_to_be_forgotten_goes() -> None:
    """`bearerd env` for one broker says nothing of the others."""
    found = variables(URL, [mount("questrade")], key=KEY, client="bot", forget=["questrade"])

    assert () == found.unset


def test_an_environment_is_changed_in_no_other_way() -> None:
    """What has to do with no broker stays."""
    found = of([mount("alpaca")]).over({"PATH": "/bin", "APCA_API_OAUTH_TOKEN": "real", "APCA_API_SECRET_KEY": "real"})

    assert "/bin" == found["PATH"]
    assert "real" not in found.values()


def test_the_key_is_in_no_repr() -> None:
    """Nor in anything that prints one."""
    assert KEY not in repr(of(ALPACA))


def test_a_socket_that_is_tls_whatever_it_is_told_is_led_there() -> None:
    """npm 3 makes its data sockets wss:// by itself; an API that is mounted nowhere is refused there, too."""
    mounts = [*ALPACA, mount("alpaca-stream", "stream")]
    secured = [replace(each, secure_url=f"https://127.0.0.1:8443/{each.name}") for each in mounts]

    assert "wss://127.0.0.1:8443/alpaca-stream" == of(secured).values["APCA_API_STREAM_URL"]
    assert "wss://127.0.0.1:8443/no-alpaca-stream-mount" == of(secured[:-1]).values["APCA_API_STREAM_URL"]
    plain = {name: text for name, text in of(mounts).values.items() if name != "APCA_API_STREAM_URL"}
    assert plain.items() <= of(secured).values.items()
