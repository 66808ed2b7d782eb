"""The login host: token endpoint, login page, revocation, and the App Hub page that makes refresh tokens by hand."""

import asyncio
import html
from collections.abc import Callable
from urllib.parse import parse_qsl

from aiohttp import web

from proxy.simulator import authorize
from proxy.simulator.authorize import Asked, Desk, Parameters, Refused, form_of, redirect
from proxy.simulator.faults import Faults
from proxy.simulator.listener import TEXT, Answer, hang, reset, truncate
from proxy.simulator.questrade.answers import BAD_REQUEST, USER_AGENT_BLOCKED, encoded, user_agent_blocked
from proxy.simulator.questrade.faults import REFUSALS, TOKEN
from proxy.simulator.questrade.grants import Grants, Pair
from proxy.simulator.questrade.options import Options, Shape

TOKEN_PATH, AUTHORIZE_PATH, REVOKE_PATH = "/oauth2/token", "/oauth2/authorize", "/oauth2/revoke"
APP_HUB_PATH = "/APIAccess/UserApps.aspx"
FOREIGN_API_SERVER = "https://api01.iq.questrade.com.evil.example/"
_NOT_FOUND = Answer(404, b"Not Found", TEXT)
_WRONG_METHOD = Answer(405, b"Method Not Allowed", TEXT)


class Login:
    """The handler of the login host. `api_server` is the host that the next token answer names, without a slash."""

    def __init__(self, grants: Grants, faults: Faults, options: Options) -> None:
        self._grants = grants
        self._faults = faults
        self._options = options
        self._desk = Desk("Questrade", AUTHORIZE_PATH, self._asked, options.now)
        self._pages: dict[tuple[str, str], Callable[[Parameters], Answer]] = {
            ("GET", AUTHORIZE_PATH): self._desk.page,
            ("POST", AUTHORIZE_PATH): self._decide,
            ("POST", REVOKE_PATH): self._revoke,
            ("GET", APP_HUB_PATH): lambda _: _app_hub(""),
            ("POST", APP_HUB_PATH): lambda _: _app_hub(grants.manual_token(options.now())),
        }
        self.api_server = ""
        self.token_posts = 0  # requests to the token endpoint of either method, whatever became of them

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if path == TOKEN_PATH and request.method in ("GET", "POST"):
            return await self._token(request, query)
        if user_agent_blocked(request.headers.get("User-Agent")):
            return USER_AGENT_BLOCKED.response()
        page = self._pages.get((request.method, path))
        if page is None:
            known = path == TOKEN_PATH or any(path == other for _, other in self._pages)
            return (_WRONG_METHOD if known else _NOT_FOUND).response()
        return page(dict(parse_qsl(query)) | await form_of(request)).response()

    async def _token(self, request: web.BaseRequest, query: str) -> web.StreamResponse:
        self.token_posts += 1
        fault = self._faults.take(TOKEN)
        if fault in REFUSALS:
            return REFUSALS[fault].response()
        if fault == "token-hang":
            await hang()
        if fault == "token-drop-before":
            return reset(request)
        if user_agent_blocked(request.headers.get("User-Agent")):
            return USER_AGENT_BLOCKED.response()
        # Redeeming awaits nothing: to a client that leaves, the token is spent or untouched.
        pair = self._redeem(dict(parse_qsl(query)) | await form_of(request))
        answer = BAD_REQUEST if pair is None else self._answer(pair, fault)
        delay = self._options.token_latency + (self._options.slow if fault == "token-slow" else 0)
        if delay:
            await asyncio.sleep(delay)
        if fault == "token-drop-after":
            return reset(request)
        if pair is not None and fault in ("token-truncated", "token-truncated-late"):
            start = answer.body.index(pair.refresh.encode())
            keep = start + (len(pair.refresh) // 2 if fault == "token-truncated" else len(pair.refresh) + 2)
            return await truncate(request, answer, keep)
        return answer.response()

    def _redeem(self, parameters: Parameters) -> Pair | None:
        now, life = self._options.now(), self._options.expires_in
        match parameters.get("grant_type"):
            case "refresh_token":
                return self._grants.redeem(parameters.get("refresh_token", ""), now, life)
            case "authorization_code":
                code, client_id = parameters.get("code", ""), parameters.get("client_id", "")
                # One public client leaves redirect_uri out; a wrong one is refused.
                if not self._desk.exchange(code, client_id, redirect_uri=parameters.get("redirect_uri")):
                    return None
                return self._grants.first_pair(now, life)
            case _:
                return None

    def _fields(self, pair: Pair) -> dict[str, object]:
        """The five fields, in alphabetical order as live."""
        tail = {Shape.SLASH: "/", Shape.BARE: "", Shape.V1: "/v1"}[self._options.shape]
        return {
            "access_token": pair.access,
            "api_server": self.api_server + tail,
            "expires_in": self._options.expires_in,
            "refresh_token": pair.refresh,
            "token_type": "Bearer",
        }

    def _answer(self, pair: Pair, fault: str | None) -> Answer:
        fields = self._fields(pair)
        match fault:
            case "token-empty-200":
                return Answer(200, b"")
            case "token-junk-expires":
                fields["expires_in"] = "soon"
            case "token-no-api-server":
                del fields["api_server"]
            case "token-foreign-api-server":
                fields["api_server"] = FOREIGN_API_SERVER
            case _:
                pass
        return Answer(200, encoded(fields))

    def approve(self, url: str) -> str:
        """Where a browser is sent after its person allowed what the authorize address `url` asks for."""
        return self._desk.approve(authorize.query_of(url, AUTHORIZE_PATH))

    def _asked(self, parameters: Parameters) -> Asked:
        """The redirect address must be the registered one; scopes are written with commas (documented)."""
        known = self._options.client_id, self._options.callback
        types = ("code", "token")
        return authorize.asked(parameters, client_id=known[0], callback=known[1], response_types=types, separator=",")

    def _decide(self, form: Parameters) -> Answer:
        """The person pressed a button on the login page: send the browser back to the application."""
        if form.get("response_type") != "token" or form.get("decision") != "allow":
            return self._desk.decide(form)
        try:
            asked = self._asked(form)
        except Refused:
            return BAD_REQUEST
        fields = self._fields(self._grants.first_pair(self._options.now(), self._options.expires_in))
        state = {} if asked.state is None else {"state": asked.state}
        return redirect(asked.redirect_uri, fields | state, fragment=True)

    def _revoke(self, form: Parameters) -> Answer:
        if not form.get("token"):
            return BAD_REQUEST
        self._grants.revoke(form["token"])
        return Answer(200, b"", TEXT)  # also for an unknown token, as RFC 7009 has it; Questrade's own is not known


def _app_hub(token: str) -> Answer:
    shown = f"<p>Refresh token: <code>{html.escape(token)}</code></p>" if token else ""
    form = f'<form method="post" action="{APP_HUB_PATH}"><button>Generate new token</button></form>'
    return authorize.page("Questrade", shown + form)
