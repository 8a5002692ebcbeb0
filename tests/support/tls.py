"""Certificates made on the spot, and TLS before a server that speaks none."""

import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")


class Authority:
    """An authority of its own, and a certificate of it for 127.0.0.1 (not for `localhost`)."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file, key = folder / f"{name}.pem", folder / f"{name}.key"
        self.certificate, self.key = folder / f"{name}-server.pem", folder / f"{name}-server.key"
        _openssl("-subj", f"/CN={name}", "-keyout", str(key), "-out", str(self.file))
        _openssl(
            *("-CA", str(self.file), "-CAkey", str(key), "-subj", "/CN=server"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"),
            *("-keyout", str(self.key), "-out", str(self.certificate)),
        )

    def context(self) -> ssl.SSLContext:
        """For a server that shows the certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


class TlsFront(ThreadingTCPServer):
    """Speaks TLS with whoever comes, and plainly with the server behind; keeps what it heard."""

    def __init__(self, authority: Authority, *, behind: int) -> None:
        super().__init__(("127.0.0.1", 0), Visit)
        self.port: int = self.server_address[1]
        self.context = authority.context()
        self.behind = behind
        self.heard = b""
        self.guests: list[socket.socket] = []

    def handle_error(self, *_: object) -> None:
        """A handshake that is refused is what is tested, and a guest may go at any time."""

    def server_close(self) -> None:
        """Send everyone away."""
        for guest in self.guests:
            with suppress(OSError):
                guest.shutdown(socket.SHUT_RDWR)
        super().server_close()


class Visit(BaseRequestHandler):
    """One connection."""

    server: TlsFront

    def handle(self) -> None:
        """Pass on what each side says, until one of them ends."""
        self.server.guests.append(self.request)
        with (
            self.server.context.wrap_socket(self.request, server_side=True) as guest,
            socket.create_connection(("127.0.0.1", self.server.behind)) as behind,
        ):
            self.server.guests[-1:] = [guest]
            while True:
                for side in select.select([guest, behind], [], [])[0]:
                    said = side.recv(65536)
                    while side is guest and guest.pending():
                        said += guest.recv(65536)
                    if not said:
                        return
                    self.server.heard += said if side is guest else b""
                    (behind if side is guest else guest).sendall(said)


@contextmanager
def tls_front(authority: Authority, *, behind: int) -> Iterator[TlsFront]:
    """TLS before the server at the port `behind`."""
    with TlsFront(authority, behind=behind) as front:
        thread = threading.Thread(target=front.serve_forever)
        thread.start()
        try:
            yield front
        finally:
            front.shutdown()
            thread.join()


def _openssl(*words: str) -> None:
    command = ["openssl", "req", "-x509", *KEY, *words]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
