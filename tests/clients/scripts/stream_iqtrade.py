"""A program of a person's own: iqtrade asks for the ports of streams, `websockets` opens them. Nothing of ours is here.

`stream_iqtrade.py URL KEY IDS`: tells on stdout, line by line, what each of the two sockets says.
"""

import json
import ssl
import sys
from urllib.parse import urlsplit

import requests
from iqtrade import api  # type: ignore[import-untyped]
from websockets.sync.client import connect

url, key, ids = sys.argv[1:]
ask = requests.get
# The one change: iqtrade has the address of the token endpoint in a text of its own.
requests.get = lambda address, **options: ask(address.replace("https://login.questrade.com", url), **options)
client = api.QuestradeIQ({"iq_refresh_token": key}, save_config=False)
server = urlsplit(client.get_api_server())
trust = ssl.create_default_context() if server.scheme == "https" else None
ports = [
    client.setup_streaming_notifications(api.SocketMode.WebSocket),
    client.setup_streaming_quotes([int(number) for number in ids.split(",")], api.SocketMode.WebSocket),
]
for port in ports:
    with connect(f"{'wss' if trust else 'ws'}://{server.hostname}:{port}/", ssl=trust, proxy=None) as socket:
        socket.send(client.get_access_token())
        for _ in range(2):
            print(json.dumps(json.loads(socket.recv(timeout=20))), flush=True)
