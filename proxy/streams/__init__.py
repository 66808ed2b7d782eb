"""Sockets and streams without end: a client on one side, a broker on the other, and what stands between them."""
