"""What a client is told of a call that went wrong between us and the broker. Pure.

Of a call that changes something the one thing that counts is whether it may have been executed.
"""

from proxy.errors import Refusal
from proxy.outbound import NotSent


def unreachable(error: NotSent, *, safe: bool, again: bool = False) -> Refusal:
    """Not a byte has left. `safe`: a repeat can do no harm; `again`: the broker had refused the token before."""
    done = "The broker had refused the token before, and nothing was executed" if again else "Nothing was sent"
    detail = f"The broker could not be reached: {error}. {done}."
    if safe:
        return Refusal("broker-unreachable", detail, status=502)
    return Refusal("broker-unreachable", detail, status=503, retry_after=5)


def lost(reason: str, kind: str, *, safe: bool) -> Refusal:
    """It was sent, and there is no answer. `kind` is that of `Lost`."""
    if not safe:
        return Refusal(
            "outcome-unknown",
            f"The call was sent, but {reason}. It may have been executed: check your orders before you repeat it.",
            fix="list your orders before sending this one again",
        )
    match kind:
        case "timeout":
            return Refusal("broker-timeout", f"The broker took too long: {reason}.")
        case "malformed":
            return Refusal("bad-answer", f"The broker's answer is unusable: {reason}.")
        case _:
            return Refusal("broker-unreachable", f"The broker did not answer: {reason}.", status=502)
