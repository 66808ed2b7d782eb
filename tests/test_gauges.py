"""What stands is in the metrics as it is at the moment that they are asked for."""

from pathlib import Path

from tests.house import SECOND, house


async def test_a_grant_that_goes_takes_its_token_ages_along(state_dir: Path) -> None:
    """An alarm on the expiry of a token that nobody has any more would never end."""
    second = (SECOND[0], SECOND[1].replace("port: 0", "grant: spare"))
    async with house(state_dir, second, login=False) as home:
        await home.app.operations.login("second", home.simulator.links().refresh_token or "")
        assert b'bearerd_generation{grant="spare"} 1.0' in home.app.rendered_metrics()

        await home.rewrite((second[1], second[0]))
        await home.app.reload()
        assert b'grant="spare"} ' not in home.app.rendered_metrics()
