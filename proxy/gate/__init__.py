"""May this call pass? Bytes in, a decision out: no sockets, no clock, no files.

`browser` asks whether a web page is behind the call, `clients` who is calling, `target` what the raw request target
says, `scopes` which row of the broker's table it is, and `guards` looks into bodies where a row asks for it. `query`
and `patterns` are the two small languages that `target` and `scopes` share: how a query may be read, and what a
capture may be.
"""
