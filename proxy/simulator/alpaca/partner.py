"""The Broker API's own OAuth: a broker partner lets its customers use other programs.

Alpaca's page "OAuth" of the Broker API. Bodies are JSON, every field is needed; errors are a text in JSON.
"""

import secrets
import uuid
from collections.abc import Collection, Iterator

from proxy.simulator.alpaca.answers import Reply, missing
from proxy.simulator.alpaca.routes import Call, Route
from proxy.simulator.authorize import same

CLIENT_ID = "7a3c52a910e1dc2abbb14da2b6b8e711"
REDIRECT_URI, SCOPE = "http://localhost", "general"
_UNKNOWN = "Client does not exist, or you do not have access to the client"
_WRONG_SECRET = f"{_UNKNOWN}, or client_secret is incorrect"
_INVALID = "Redirect URI or scope is invalid"


class Partner:
    """The partner's one client, and the tokens that were issued for it. `accounts` are the customers' ids."""

    def __init__(self, accounts: Collection[str]) -> None:
        self._accounts = accounts
        self.secret = secrets.token_hex(20)
        self.tokens: set[str] = set()

    def rows(self) -> Iterator[tuple[str, Route]]:
        yield "GET", Route("/v1/oauth/clients/{client_id}", "", _client)
        yield "POST", Route("/v1/oauth/token", "", self._token)
        yield "POST", Route("/v1/oauth/authorize", "", self._authorize)
        yield "DELETE", Route("/v1/oauth/token/{token_id}", "", self._revoke)

    def _token(self, call: Call) -> object:
        if (wrong := self._wrong(call)) is not None:
            return wrong
        token = str(uuid.uuid4())
        self.tokens.add(token)
        return {"access_token": token, "token_type": "Bearer", "scope": SCOPE}

    def _authorize(self, call: Call) -> object:
        if (wrong := self._wrong(call)) is not None:
            return wrong
        return {"code": str(uuid.uuid4()), "client_id": CLIENT_ID, "redirect_uri": REDIRECT_URI, "scope": SCOPE}

    def _revoke(self, call: Call) -> object:
        token = call.captures["token_id"]
        if token not in self.tokens:
            raise missing("token")
        self.tokens.remove(token)
        return Reply(status=204)

    def _wrong(self, call: Call) -> Reply | None:
        """The error of a body that is not as it must be."""
        given = {name: str(value) for name, value in call.document.items() if value is not None}
        if given.get("client_id") != CLIENT_ID or not same(given.get("client_secret", ""), self.secret):
            return Reply(_WRONG_SECRET, 401)
        fits = given.get("redirect_uri") == REDIRECT_URI and given.get("scope") == SCOPE
        return None if fits and given.get("account_id") in self._accounts else Reply(_INVALID, 422)


def _client(call: Call) -> object:
    if call.captures["client_id"].replace("-", "").lower() != CLIENT_ID:
        return Reply(_UNKNOWN, 401)
    return {
        "client_id": CLIENT_ID,
        "name": "TradingApp",
        "description": "Sample description",
        "url": "http://test.com",
        "terms_of_use": "",
        "privacy_policy": "",
        "status": "ACTIVE",
        "redirect_uri": [REDIRECT_URI],
        "live_trading_approved": False,
    }
