"""A forward proxy that lets nobody out, and remembers who tried."""

import socket
import threading

_ANSWER = b"HTTP/1.1 403 Nobody leaves\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Trap:
    """Listens from the start until `close()`. `environ` makes the usual HTTP libraries come here with every address
    that is not ours."""

    def __init__(self) -> None:
        self._heard: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def environ(self) -> dict[str, str]:
        url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        ours = "127.0.0.1,localhost"
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"), url)
        return {**proxies, "no_proxy": ours, "NO_PROXY": ours, "NODE_USE_ENV_PROXY": "1"}

    def take(self) -> list[str]:
        """Method and target of each request since the last look."""
        heard, self._heard = self._heard, []
        return heard

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=5)
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(5)
                head = peer.recv(65536)
                self._heard.append(" ".join(head.decode("latin-1").split()[:2]))
                peer.sendall(_ANSWER)
