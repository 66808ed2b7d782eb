"""An answer that is read here to its end, because something in it has to be known or changed before it goes on."""

from proxy import logs
from proxy.errors import Refusal
from proxy.outbound import Lost
from proxy.relay.echo import Echoed
from proxy.relay.http import Exchange

LARGEST = 1024 * 1024  # bytes: quotes of a thousand symbols stand beside the port of their stream

log = logs.get("relay")


async def whole_body(exchange: Exchange, most: int = LARGEST) -> bytes:
    """All of it, as it is written. `Refusal`: it is compressed, too long, broke off, or holds our credential."""
    codings = (value for name, value in exchange.answer.headers if name.lower() == b"content-encoding")
    if any(coding.strip().lower() not in (b"", b"identity") for coding in codings):
        raise Refusal("bad-answer", "The broker's answer is compressed, which it was asked not to be.")
    if exchange.whole:
        return exchange.start
    if exchange.sieve is None:
        raise AssertionError("an answer was about to be read unsearched")
    try:
        found = bytearray(exchange.sieve.pass_on(exchange.start))
        async for piece in exchange.answer.chunks():
            found += exchange.sieve.pass_on(piece)
            if len(found) > most:
                raise Refusal("bad-answer", f"The broker's answer is longer than {most} bytes.")
    except Lost as error:
        kind = "broker-timeout" if error.kind == "timeout" else "bad-answer"
        raise Refusal(kind, f"The broker's answer broke off: {error}.") from None
    except Echoed:
        log.error("an answer held a credential and was withheld", grant=exchange.keeper.name)
        raise Refusal("bad-answer", "The broker's answer held our credential and was withheld.") from None
    exchange.whole = True
    return bytes(found) + exchange.sieve.rest()
