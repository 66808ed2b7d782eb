"""More than one processor: a supervisor, one process that keeps custody, and some that relay plain reads.

    supervisor      starts the others, keeps the listening sockets, passes signals on; knows nothing else
      ├─ custody    `bearerd serve` as it always was, but for who accepts connections: the one owner of tokens, orders,
      │             guards, sockets, logins, console, audit trail
      └─ workers    accept clients, and answer their plain reads with what custody has told them; any other request
                    goes, with its connection, to custody, for as long as that connection lasts

What a worker knows: the configuration without its secrets, digests of client keys, access tokens. Never a refresh
token, never the master key. Whatever it is not certain of it hands over. `link.py` is how two of these talk.
"""
