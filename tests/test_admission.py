"""What the gate says of one call on a mount, without a request."""

import pytest

from proxy.admission import matched, permit, unknown_mount
from proxy.errors import Refusal
from proxy.gate import target
from proxy.gate.clients import Client
from tests.lab import running

BOT = Client("bot", {"lab": frozenset({"read"})})


async def test_a_call_needs_a_row_a_scope_and_a_right() -> None:
    """Each has a refusal of its own, which names the place and the fix."""
    async with running(scopes=("read", "trade")) as lab:
        mount = lab.mount
        row = matched(mount, "GET", target.parse(b"/lab/v1/accounts")).row
        permit(mount, BOT, row)
        with pytest.raises(Refusal, match="scope-denied") as nothing:
            matched(mount, "GET", target.parse(b"/lab/v1/nothing"))
        assert (nothing.value.fix or "").endswith("bearerd scopes list lab")
        trade = matched(mount, "POST", target.parse(b"/lab/v1/orders")).row
        with pytest.raises(Refusal, match="scope-denied") as lacking:
            permit(mount, BOT, trade)
        assert "add trade to clients.bot.lab" == lacking.value.fix
        wallet = matched(mount, "GET", target.parse(b"/lab/v1/wallet")).row
        with pytest.raises(Refusal, match="scope-denied") as denied:
            permit(mount, BOT, wallet)
        assert "documents no scope" in denied.value.detail
        assert "lab" == mount.grant


async def test_an_unknown_mount_is_answered_with_those_within_reach() -> None:
    """Of the others a client hears nothing."""
    async with running() as lab:
        policy = lab.gateway.policy
        assert "/lab" in unknown_mount(policy, BOT).detail
        assert "there is: nothing" in unknown_mount(policy, Client("other", {})).detail
