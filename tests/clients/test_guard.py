"""What the tests here rest on: the packages are as published, and one that leaves this machine would be caught."""

import base64
import hashlib
from importlib.metadata import files

import pytest

from tests.clients.conftest import Opener
from tests.clients.conversation import Failed
from tests.clients.product import Demo
from tests.clients.trap import Trap

LOGIN_HOST = "CONNECT login.questrade.com:443"
WRONG_KEY = "brd_" + "0" * 49


@pytest.mark.parametrize("package", ["questrade-api", "qtrade", "kwess", "qt-api"])
def test_a_package_is_as_it_was_installed(package: str) -> None:
    """Every file of it has the SHA-256 of the installation's own list: nobody has patched it."""
    listed = [path for path in files(package) or [] if path.hash is not None]

    changed = [str(path) for path in listed if path.hash and path.hash.value != sha256(path.read_binary())]

    assert [] == changed
    assert any(path.suffix == ".py" for path in listed)


def sha256(content: bytes) -> str:
    """As RECORD files write it."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("of", "options"),
    [
        ("questrade_api.Questrade", {"refresh_token": WRONG_KEY}),
        ("qtrade.Questrade", {"access_code": WRONG_KEY}),
        ("qt_api.qt.Questrade", {"access_code": WRONG_KEY}),
    ],
)
def test_a_python_client_with_its_own_token_url_is_caught(
    of: str, options: dict[str, object], python_client: Opener, trap: Trap
) -> None:
    """urllib, requests and httpx all come to the trap, and get no further."""
    with pytest.raises(Failed):
        python_client("leaving").make(of, **options)

    assert [LOGIN_HOST] == trap.take()


def test_kwess_turns_to_the_login_host_when_its_first_call_fails(python_client: Opener, trap: Trap, demo: Demo) -> None:
    """The README warns of it: a key that is refused here is taken for a refresh token."""
    with pytest.raises(Failed):
        python_client("leaving").make("kwess.Trader", store_tokens=False, token=WRONG_KEY, api_server=demo.url)

    assert [LOGIN_HOST] == trap.take()


def test_the_npm_client_with_its_own_token_url_is_caught(node_client: Opener, trap: Trap) -> None:
    """So does fetch of Node.js."""
    client = node_client("leaving")
    client.make(WRONG_KEY)

    with pytest.raises(Failed):
        client.call("connect")

    assert [LOGIN_HOST] == trap.take()
