"""The forms in which `bearerd env` prints: variables for a shell, or the token file that a Questrade library reads.

The libraries differ in how they join `api_server` and a path, and in what makes them refresh. An expiry far
ahead keeps a library from sending the client key to Questrade's login host.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proxy.cli.environment import Variables

FAR_AHEAD = 4102444800  # 2100-01-01, Unix time
FAR_AHEAD_DATE = "2099-12-31 00:00:00"
LIFE = 1800
LONGEST_LIFE = 2_000_000_000  # seconds; qt-api adds it to the age of its file


@dataclass(frozen=True, slots=True)
class Access:
    """What a program needs: variables, and for a token file one mount's address (without a slash at the end)."""

    variables: Variables
    mount_url: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Format:
    """One form of output: how it is made, where a library looks for it, and the brokers that it is for (none: all)."""

    render: Callable[[Access], str]
    file: str | None = None
    brokers: tuple[str, ...] = ()

    @property
    def variables(self) -> bool:
        """Whether it holds variables, and is no library's token file."""
        return not self.brokers


def _lines(form: str, quote: Callable[[str], str], unset: str) -> Callable[[Access], str]:
    def render(access: Access) -> str:
        values, gone = access.variables.values, access.variables.unset
        lines = [unset.format(name=name) for name in gone]
        lines += [form.format(name=name, text=quote(text)) for name, text in values.items()]
        return "".join(line + "\n" for line in lines)

    return render


def _sh(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _powershell(text: str) -> str:
    return "'" + re.sub("(['\u2018-\u201b])", r"\1\1", text) + "'"  # which takes curly ones for the same


def _dotenv(text: str) -> str:
    """As libraries read it, and shells do: neither has the other's way to put a quote between quotes."""
    return f'"{text}"' if "'" in text and not set('"$`\\') & set(text) else _sh(text)


def _token(access: Access, *, slash: bool, life: int = LIFE) -> dict[str, object]:
    """The five fields of a token answer. qtrade raises `TypeError` for a sixth."""
    return {
        "access_token": access.key,
        "api_server": access.mount_url + "/" * slash,
        "expires_in": life,
        "refresh_token": access.key,
        "token_type": "Bearer",
    }


def _yaml(fields: Mapping[str, object]) -> str:
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items())


def _qtrade(access: Access) -> str:
    return _yaml(_token(access, slash=False))


def _qt_api(access: Access) -> str:
    return _yaml(_token(access, slash=True, life=LONGEST_LIFE))


def _questrade_api(access: Access) -> str:
    return json.dumps(_token(access, slash=True) | {"expires_at": str(FAR_AHEAD)}) + "\n"


def _kwess(access: Access) -> str:
    # Its file mode cuts the last character of `api_server` off, whatever it is.
    return json.dumps(_token(access, slash=True) | {"expiry_date": FAR_AHEAD_DATE}) + "\n"


_QUESTRADE = ("questrade",)

FORMATS: Mapping[str, Format] = {
    "sh": Format(_lines("export {name}={text}", _sh, "unset {name}")),
    "fish": Format(_lines("set -gx {name} {text}", _fish, "set -e {name}")),
    "powershell": Format(
        _lines("$env:{name} = {text}", _powershell, "Remove-Item -ErrorAction Ignore Env:{name}"),
    ),
    # No file of this kind can take a variable away; all libraries take an empty one for none.
    "dotenv": Format(_lines("{name}={text}", _dotenv, "{name}="), ".env"),
    "qtrade": Format(_qtrade, "access_token.yml", _QUESTRADE),
    "questrade_api": Format(_questrade_api, "~/.questrade.json", _QUESTRADE),
    "kwess": Format(_kwess, "accessToken.json", _QUESTRADE),
    "qt-api": Format(_qt_api, "~/.qt_api/creds_local.yaml", _QUESTRADE),
}
