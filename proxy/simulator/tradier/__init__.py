"""Tradier, offline: the REST host, which hands out tokens too, and the host of the login page, each on its own port.

`broker.py` puts it together. `login.py` is the OAuth part; `api.py` is what every API call passes, `calls.py` says
which path is which, over `market.py` and `options_market.py` (what is traded), `account.py` (what is owned),
`orders.py` and `terms.py` (what is kept, what is asked for) and `watchlists.py`. `answers.py` writes XML and JSON.
"""
