"""The signature of Standard Webhooks: an HMAC-SHA256 over id, time and body. Pure.

Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md ("Signature scheme", symmetric).
"""

import base64
import hashlib
import hmac


def headers(key: bytes, id_: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers that a receiver checks. `timestamp` is Unix time, of this try."""
    signed = b".".join((id_.encode("ascii"), str(timestamp).encode("ascii"), body))
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode("ascii")
    return {"webhook-id": id_, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}
