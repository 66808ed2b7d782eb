"""Alpaca Connect: the login page on its own host, and the token endpoint on the trading hosts.

https://docs.alpaca.markets/docs/using-oauth2-and-trading-api: the secret goes into a form, an answer has neither
`expires_in` nor a refresh token. PKCE is not supported: a challenge is ignored. Whoever adds `login_hint` to the page's
address is another person than the usual one, with accounts of their own.
"""

from collections.abc import Mapping

from aiohttp import web

from proxy.simulator import authorize
from proxy.simulator.alpaca import answers
from proxy.simulator.alpaca.answers import BAD_REQUEST, Refused
from proxy.simulator.alpaca.credentials import ENV, PERSON, Credentials, Host, granted
from proxy.simulator.alpaca.options import Options
from proxy.simulator.authorize import FORM, Asked, Desk
from proxy.simulator.listener import TEXT, Answer

AUTHORIZE_PATH, TOKEN_PATH = "/oauth/authorize", "/oauth/token"
SCOPES = ("account:write", "trading", "data")
_ENVIRONMENTS = (Host.PAPER.value, Host.LIVE.value)
_NEEDED = ("grant_type", "code", "client_id", "client_secret", "redirect_uri")
_NOT_FOUND = Answer(404, b"Not Found", TEXT)


class Connect:
    """The handler of the login page's host, and what the trading hosts' token endpoint does."""

    def __init__(self, credentials: Credentials, options: Options) -> None:
        self._credentials = credentials
        self._options = options
        self._desk = Desk("Alpaca", AUTHORIZE_PATH, self._check, options.now)

    async def page(self, request: web.BaseRequest) -> web.StreamResponse:
        """GET shows the page, POST is a button of it."""
        path = request.raw_path.partition("?")[0]
        if path != AUTHORIZE_PATH:
            return _NOT_FOUND.response()
        if request.method == "GET":
            return self._desk.page(dict(request.query)).response()
        return self._desk.decide(await authorize.form_of(request)).response()

    def approve(self, authorize_url: str) -> str:
        """Where the browser is sent when a person allows. ValueError for an address that the page would refuse."""
        return self._desk.approve(authorize.query_of(authorize_url, AUTHORIZE_PATH))

    def exchange(self, content_type: str, form: Mapping[str, str]) -> dict[str, object] | Answer:
        """The fields of a token answer, or an error: 401 `invalid_client` for all but a form, as live."""
        application = self._credentials.application
        if content_type != FORM or not application.is_pair((form.get("client_id", ""), form.get("client_secret", ""))):
            return answers.INVALID_CLIENT
        lacking = [name for name in _NEEDED if not form.get(name)]
        if lacking:
            return Refused(BAD_REQUEST, f"{lacking[0]} is required").answer()
        if form["grant_type"] != "authorization_code":
            return Refused(BAD_REQUEST, "unsupported grant_type").answer()
        asked = self._desk.exchange(form["code"], form["client_id"], redirect_uri=form["redirect_uri"])
        if asked is None:
            return Refused(BAD_REQUEST, "invalid_grant").answer()
        now = self._options.now()
        issued = self._credentials.connect.login(asked.client_id, asked.scopes, now, None, refreshable=False)
        return {"access_token": issued.access, "token_type": "bearer", "scope": " ".join(granted(issued))}

    def _check(self, parameters: Mapping[str, str]) -> Asked:
        plain = {name: value for name, value in parameters.items() if not name.startswith("code_challenge")}
        client_id = self._credentials.application.id
        asked = authorize.asked(plain, client_id=client_id, callback=self._options.callback)
        if not set(asked.scopes) <= set(SCOPES):
            raise authorize.Refused("scope must be some of the known ones")
        environment = plain.get("env")
        if environment not in (None, *_ENVIRONMENTS):
            raise authorize.Refused("env must be live or paper")
        # Without env a person is asked for both accounts.
        covered = (environment,) if environment else _ENVIRONMENTS
        who = (PERSON + plain["login_hint"],) if plain.get("login_hint") else ()
        scopes = (*asked.scopes, *(ENV + each for each in covered), *who)
        return Asked(asked.client_id, asked.redirect_uri, scopes, asked.state)
