"""May this call pass? Bytes in, a decision out: no sockets, no clock, no files.

`browser` asks whether a web page is behind the call, `clients` who is calling, `target` what the raw request target
says, `scopes` which row of the broker's table it is, `halt` whether an operator has stopped it, and `guards` whether an
order may be: `orders` and `accounts` read what it says, by the names that `orderrule` holds, and `bodies` reads bodies
strictly. `budget` says whether the broker's rate limit has room, by what `window` counts and `ratehead` reads in
answers, and `turns` who is next. `query` and `patterns` are the two small languages that `target` and `scopes` share:
how a query may be read, and what a capture may be.
"""
