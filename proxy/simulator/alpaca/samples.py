"""Plausible answers for calls whose content nobody looks at: one object, or a list of one, by the path.

A path that ends in a capture is about one thing, another one lists; what changes something answers with the thing.
"""

from proxy.simulator.alpaca import assets, moments
from proxy.simulator.alpaca.answers import Reply
from proxy.simulator.alpaca.routes import Call, Handler

Record = dict[str, object]

# Paths whose answer is one object although they do not end in a capture, by their last segment.
_SINGLE = frozenset(
    {
        "account_vitals", "leverage", "estimate", "fee", "limits", "mint", "redeem", "cip", "tokens", "sdk", "logo",
        "entry-requirements", "funding_wallet", "recipient_bank", "withdrawal", "funding", "approval", "estimation",
        "balances", "requests:by_client_request_id", "requests:by_issuer_request_id", "configurations", "close",
        "latest",
    }
)  # fmt: skip
# Lists that stand in an object, by the last segment of their path: under which name.
_WRAPPED = {
    "us_corporates": "us_corporates",
    "us_treasuries": "us_treasuries",
    "subscriptions": "subscriptions",
    "runs": "runs",
    "loans": "loans",
    "ipos": "offerings",
    "apr_tiers": "apr_tiers",
}


def handler(method: str, path: str) -> Handler:
    """What answers a call of this template."""
    last = path.rsplit("/", 1)[-1]

    def answer(call: Call) -> object:
        if method == "DELETE":
            return Reply(status=204)
        record = _record(path, call)
        if method != "GET" or last.startswith("{") or last in _SINGLE:
            return record
        return {_WRAPPED[last]: [record], "next_page_token": None} if last in _WRAPPED else [record]

    return answer


def announcement(now: float) -> Record:
    """A corporate action in the older form."""
    date = moments.day(now).isoformat()
    return {
        "id": assets.identifier("announcement"),
        "corporate_action_id": "F58684224_XY37",
        "ca_type": "dividend",
        "ca_sub_type": "cash",
        "initiating_symbol": "AAPL",
        "initiating_original_cusip": "037833100",
        "target_symbol": "AAPL",
        "target_original_cusip": "037833100",
        **dict.fromkeys(("declaration_date", "effective_date", "ex_date", "record_date", "payable_date"), date),
        "cash": "0.24",
        "old_rate": "1",
        "new_rate": "1",
    }


def _record(path: str, call: Call) -> Record:
    given = call.value if isinstance(call.value, dict) else {}
    return {
        "id": assets.identifier(path),
        "status": "PENDING" if call.method != "GET" else "COMPLETE",
        "created_at": moments.written(call.now - moments.DAY),
        "updated_at": moments.written(call.now - moments.DAY),
        **given,
        **call.captures,
    }
