"""The token endpoint for client credentials (https://docs.alpaca.markets/docs/authentication).

The secret goes into the form; Basic is refused. Tokens live 899 seconds, and the one before stays good to its end.
"""

from collections.abc import Mapping

from proxy.simulator.alpaca.answers import encoded
from proxy.simulator.alpaca.credentials import Credentials
from proxy.simulator.alpaca.options import Options
from proxy.simulator.authorize import FORM
from proxy.simulator.listener import Answer

TOKEN_PATH = "/v1/oauth2/token"  # noqa: S105  a path


def mint(
    credentials: Credentials, options: Options, content_type: str, authorization: str | None, form: Mapping[str, str]
) -> dict[str, object] | Answer:
    """The fields of a token answer, or an error."""
    if content_type != FORM:
        return _wrong(400, "invalid_request", "content_type")
    if authorization is not None:
        return _wrong(401, "invalid_client", "authorization")
    lacking = [name for name in ("grant_type", "client_id", "client_secret") if not form.get(name)]
    if lacking:
        return _wrong(400, "invalid_request", *lacking)
    if form["grant_type"] != "client_credentials":
        return _wrong(400, "invalid_request", "grant_type")
    if not credentials.machine.is_pair((form["client_id"], form["client_secret"])):
        return _wrong(401, "invalid_client", "client_id")
    issued = credentials.minted.mint(form["client_id"], (), options.now(), options.expires_in)
    return {"access_token": issued.access, "expires_in": options.expires_in, "token_type": "Bearer"}


def _wrong(status: int, error: str, *names: str) -> Answer:
    return Answer(status, encoded({"error": error, "fields": [{"name": name} for name in names]}))
