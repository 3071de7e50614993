"""A witness over HTTP (C2SP tlog-witness): ``POST add-checkpoint``, and ``GET <SHA-256 of the origin>/checkpoint``.

Built on the standard library's server: a witness answers a few small requests a minute and keeps nothing secret from
whoever asks, so a dependency would be the larger risk. Every limit stands here by its name. It speaks plain HTTP, one
request for each connection; put it behind a reverse proxy for TLS.
"""

import contextlib
import re
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final

from ..errors import StoreFailed
from .witness import CheckpointWitness
from .witness_protocol import REQUEST_BYTES_MAX, WitnessAnswer

CONNECTIONS_MAX: Final = 32
"""Connections that are served at once; more are closed unheard."""
CONNECTION_S_MAX: Final = 30.0
"""How long one connection lasts, whatever it sends or does not send."""
_NEWEST: Final = re.compile(r"/([0-9a-f]{64})/checkpoint", re.ASCII)


class WitnessServer(socketserver.ThreadingMixIn, HTTPServer):
    """Serves one witness: :meth:`serve_forever`, until :meth:`shutdown` is called from another thread."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = CONNECTIONS_MAX

    def __init__(self, witness: CheckpointWitness, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen at ``host`` and ``port``, where 0 is any port that is free. Raises ``OSError``."""
        self.witness: CheckpointWitness = witness
        self._free = threading.BoundedSemaphore(CONNECTIONS_MAX)
        if ":" in host:
            self.address_family: socket.AddressFamily = socket.AF_INET6
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind, without asking a name server who this machine is."""
        socketserver.TCPServer.server_bind(self)

    @property
    def url(self) -> str:
        """Where the witness is to be asked."""
        host, port = self.socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, if there is one to spare."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, for a time that is bounded."""
        timer = threading.Timer(CONNECTION_S_MAX, _hang_up, (request,))
        timer.daemon = True
        timer.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that broke."""


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    server_version = "sessionlog-witness"
    sys_version = ""

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != "/add-checkpoint":
            self._answer(WitnessAnswer(404, b"ask /add-checkpoint\n"))
        elif not re.fullmatch(r"[0-9]{1,12}", length, re.ASCII):
            self._answer(WitnessAnswer(411, b"say how long the request is, by Content-Length\n"))
        elif int(length) > REQUEST_BYTES_MAX:
            self._answer(WitnessAnswer(413, b"a request has at most %d bytes\n" % REQUEST_BYTES_MAX))
        else:
            self._answer(self.server.witness.add_checkpoint(self.rfile.read(int(length))))

    def do_GET(self) -> None:
        match = _NEWEST.fullmatch(self.path)
        try:
            note = None if match is None else self.server.witness.newest(match[1])
        except StoreFailed:
            self._answer(WitnessAnswer(500, b"the state of the witness cannot be read\n"))
            return
        self._answer(WitnessAnswer(404, b"there is no such checkpoint\n") if note is None else WitnessAnswer(200, note))

    def _answer(self, answer: WitnessAnswer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the library has
        """Print nothing: what a stranger sends goes to no terminal."""


__all__ = ["CONNECTIONS_MAX", "CONNECTION_S_MAX", "WitnessServer"]
