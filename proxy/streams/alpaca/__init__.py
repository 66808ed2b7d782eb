"""Alpaca's market data: one socket at the broker for all clients of a feed. `hubs` is where a client comes in."""
