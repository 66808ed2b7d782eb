"""The forms of `bearerd env`: quoting, slashes, fields."""

import json
import subprocess

import pytest
import yaml

from proxy.cli.envfiles import FORMATS, Access
from proxy.cli.environment import Variables

ACCESS = Access(
    Variables({"BEARERD_URL": "http://127.0.0.1:8080", "BEARERD_KEY": "brd_KEY"}, ("APCA_API_OAUTH",)),
    "http://127.0.0.1:8080/questrade",
    "brd_KEY",
)
FIVE = {"access_token", "api_server", "expires_in", "refresh_token", "token_type"}


def test_sh_output_survives_a_shell() -> None:
    """Whatever the text is, a shell reads it back; what is to go is gone."""
    text = "it's $HOME `x`"
    access = Access(Variables({"BEARERD_URL": text}, ("APCA_API_OAUTH",)), "m", "k")
    script = FORMATS["sh"].render(access) + 'printf %s "$BEARERD_URL${APCA_API_OAUTH-}"'
    done = subprocess.run(
        ["sh", "-ec", script], capture_output=True, text=True, check=True, env={"APCA_API_OAUTH": "real"}
    )

    assert text == done.stdout


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("sh", ["unset APCA_API_OAUTH", "export BEARERD_KEY='it'\\''s'"]),
        ("fish", ["set -e APCA_API_OAUTH", "set -gx BEARERD_KEY 'it\\'s'"]),
        ("powershell", ["Remove-Item -ErrorAction Ignore Env:APCA_API_OAUTH", "$env:BEARERD_KEY = 'it''s'"]),
        ("dotenv", ["APCA_API_OAUTH=", 'BEARERD_KEY="it\'s"']),
    ],
)
def test_each_shell_has_its_own_words_and_quotes(name: str, lines: list[str]) -> None:
    """One line a variable, those first that are taken away."""
    access = Access(Variables({"BEARERD_KEY": "it's"}, ("APCA_API_OAUTH",)), "m", "it's")

    assert lines == FORMATS[name].render(access).splitlines()


def test_curly_quotes_end_no_text_in_powershell() -> None:
    """It takes them for straight ones; what a file is called must not become a command."""
    name = "/home/x/it\u2019; calc #"
    access = Access(Variables({"SSL_CERT_FILE": name}, ()), "m", "")

    assert "$env:SSL_CERT_FILE = '/home/x/it\u2019\u2019; calc #'\n" == FORMATS["powershell"].render(access)


def test_qtrade_gets_five_fields_and_no_slash() -> None:
    """A sixth would raise `TypeError` in it; it joins with a slash of its own."""
    found = yaml.safe_load(FORMATS["qtrade"].render(ACCESS))

    assert set(found) == FIVE
    assert "http://127.0.0.1:8080/questrade" == found["api_server"]


def test_questrade_api_gets_a_slash_and_a_far_expiry() -> None:
    """It joins without a slash, and compares `expires_at` as text made a number."""
    found = json.loads(FORMATS["questrade_api"].render(ACCESS))

    assert "http://127.0.0.1:8080/questrade/" == found["api_server"]
    assert "4102444800" == found["expires_at"]


def test_kwess_gets_a_slash_to_cut_off() -> None:
    """Its file mode drops the last character."""
    found = json.loads(FORMATS["kwess"].render(ACCESS))

    assert "http://127.0.0.1:8080/questrade/" == found["api_server"]
    assert "2099-12-31 00:00:00" == found["expiry_date"]


def test_qt_api_never_refreshes() -> None:
    """Its file counts as fresh for decades."""
    found = yaml.safe_load(FORMATS["qt-api"].render(ACCESS))

    assert set(found) == FIVE
    assert 2_000_000_000 == found["expires_in"]
    assert found["api_server"].endswith("/")


def test_the_key_is_not_in_a_repr() -> None:
    """Nor in anything that prints one."""
    assert "brd_KEY" not in repr(ACCESS)
