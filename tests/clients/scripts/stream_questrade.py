"""A program of a person's own: iqtrade asks for the ports of streams, `websockets` opens them. Nothing of ours is here.

`stream_questrade.py URL KEY WRONG IDS`: tells on stdout, line by line, what each socket says, as `[stream, channel,
what]`. A socket that is closed is opened again, as long as it is let in; at last one comes with the key WRONG.
"""

import json
import sys
import threading
from urllib.parse import urlsplit

import requests
from iqtrade import api  # type: ignore[import-untyped]
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

url, key, wrong, ids = sys.argv[1:]
quiet = threading.Lock()
ask = requests.get
requests.get = lambda address, **options: ask(address.replace("https://login.questrade.com", url), **options)


def tell(stream: str, channel: str, what: object) -> None:
    with quiet:
        sys.stdout.write(json.dumps([stream, channel, what]) + "\n")
        sys.stdout.flush()


def listen(stream: str, port: int, secret: str) -> None:
    let_in = True
    while let_in:
        let_in = False
        with connect(f"ws://{server}:{port}/", proxy=None) as socket:
            socket.send(secret)
            try:
                while True:
                    message = json.loads(socket.recv())
                    let_in = let_in or "success" in message
                    for quote in message.get("quotes", ()):
                        tell(stream, str(quote["symbolId"]), quote["volume"])
                    for order in message.get("orders", ()):
                        tell(stream, "orders", f"{order['state']} {order['id']}")
                    if "quotes" not in message and "orders" not in message:
                        tell(stream, "log", json.dumps(message))
            except ConnectionClosed as closed:
                tell(stream, "log", f"closed: {closed}")


client = api.QuestradeIQ({"iq_refresh_token": key}, save_config=False)
server = urlsplit(client.get_api_server()).hostname
ports = {
    "orders": client.setup_streaming_notifications(api.SocketMode.WebSocket),
    "quotes": client.setup_streaming_quotes([int(number) for number in ids.split(",")], api.SocketMode.WebSocket),
}
for name, port in ports.items():
    threading.Thread(target=listen, args=(name, port, client.get_access_token())).start()
listen("quotes, wrong key", ports["quotes"], wrong)
