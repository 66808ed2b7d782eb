"""Alpaca's own faults, besides those that all brokers share; see `proxy.simulator.front` for what the marks mean."""

from collections.abc import Callable, Mapping

from proxy.simulator import front
from proxy.simulator.alpaca import answers
from proxy.simulator.alpaca.answers import FORBIDDEN, Refused, unprocessable
from proxy.simulator.faults import Faults
from proxy.simulator.front import Refusal
from proxy.simulator.listener import HTML, JSON, Answer

_TOKEN = {
    "token-401-invalid-client": "401, invalid_client (refused)",
    "token-429": "429 with Retry-After: 1 (refused)",
}
_API = {
    "api-401": "401, code 40110000 (refused)",
    "api-401-scope": "401, `token is not authorized for this scope` (refused)",
    "api-401-gateway": '401, {"message":"unauthorized."} (refused)',
    "api-403-gateway": '403, {"message":"forbidden."} (refused)',
    "api-429": "429, code 42910000, with the rate limit headers (refused)",
    "api-500": "500, code 50010000 (refused)",
    "api-500-text": "500 with a text in JSON, as the Broker API's OAuth has it (refused)",
    "api-504-html": "504 page (refused)",
}
_ORDER = {
    "order-403": "403, code 40310000: buying power (refused)",
    "order-422": "422, code 42210001 (refused)",
}


def catalogue() -> Faults:
    """All faults of Alpaca, none armed."""
    return front.catalogue(token=_TOKEN, api=_API, order=_ORDER, streaming=True)


def exhausted(now: Callable[[], float]) -> Callable[[], Answer]:
    """What a call over the limit gets, with the end of the minute as documented."""

    def answer() -> Answer:
        headers = {
            "X-RateLimit-Limit": "200",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(int(now()) + 1),
            "Retry-After": "1",
        }
        return Answer(429, answers.TOO_MANY_REQUESTS.body, JSON, headers)

    return answer


# Answers of faults that keep a request from being processed; those of the token endpoints as authx has them.
REFUSALS: Mapping[str, Refusal] = {
    "token-401-invalid-client": Answer(401, b'{"error":"invalid_client","fields":[]}'),
    "token-429": Answer(429, b'{"error":"quota_exceeded","fields":[]}', headers={"Retry-After": "1"}),
    "api-401": answers.NOT_AUTHORIZED,
    "api-401-scope": answers.NOT_IN_SCOPE,
    "api-401-gateway": answers.GATEWAY_UNAUTHORIZED,
    "api-403-gateway": answers.GATEWAY_FORBIDDEN,
    "api-500": answers.INTERNAL,
    "api-500-text": Answer(500, b'"Some server error occurred. Please contact Alpaca."'),
    "api-504-html": Answer(504, b"<html><body><h1>504 Gateway Time-out</h1></body></html>", HTML),
}
ORDER_REFUSALS: Mapping[str, Answer] = {
    "order-403": Refused(FORBIDDEN, "insufficient buying power", buying_power="0", cost_basis="500").answer(),
    "order-422": unprocessable("order could not be processed").answer(),
}
