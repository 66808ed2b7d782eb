"""Alpaca, offline: two trading hosts (paper, live), data, broker, streams, authx and the login page, each on its port.

`broker.py` puts it together. `credentials.py` says who may call what, `connect.py` and `authx.py` give out tokens,
`partner.py` is the Broker API's own OAuth. `api.py` is what every call passes, `routes.py` which path is which;
the calls are in `trading.py`, `data.py` and `brokerage.py`, over `account.py` (`positions.py`, `orders.py`,
`watchlists.py`), `assets.py`, `market.py` and `news.py`, `customers.py`, `funding.py` and `shelf.py`. `samples.py`
answers what nobody looks at, `events.py` makes streams. `answers.py` writes errors, `moments.py` times.
"""
