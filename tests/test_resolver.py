"""Names that lead to private addresses are refused, but for those that are declared."""

import pytest

from proxy.resolver import PublicResolver

NEAR = "127.1"  # no address to a strict reader, so it goes to the resolver, and that knows the old short form


async def test_a_name_that_is_declared_may_lead_to_a_private_address() -> None:
    """`localhost` says itself where it leads; any other name has to be listed, and only that one is let through."""
    resolver = PublicResolver(frozenset({NEAR}))
    assert await resolver.resolve("localhost", 443)
    assert await resolver.resolve(NEAR, 443)
    await resolver.close()
    resolver = PublicResolver(frozenset({"other"}))
    with pytest.raises(OSError, match="private address"):
        await resolver.resolve(NEAR, 443)
    await resolver.close()
