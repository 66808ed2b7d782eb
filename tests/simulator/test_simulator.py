"""What every simulated broker shares."""

from proxy.simulator import Links


def test_links_do_not_show_their_refresh_token() -> None:
    """A refresh token stays out of repr, as everywhere."""
    links = Links("https://127.0.0.1:1/t", "canary", ("1",), (), {})

    assert "canary" not in repr(links)
