"""A server on this machine whose every answer is scripted: an honest one, and most ways in which hosts go wrong."""

from __future__ import annotations

import datetime
import gzip
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random

CONTENT = Random(0).randbytes(100_000)
TAG = '"one"'


class FaultyServer(ThreadingHTTPServer):
    """Answers each path's requests from a script, whose last answer repeats; other paths are not found.

    Attributes:
        asked: path and headers of every request, in order.
        sent: bytes of bodies handed to the network.
        halfway: set by an answer that stalls, when it has sent what it will send at first.
        go_on: what such an answer waits for.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.sent = 0
        self.halfway = threading.Event()
        self.go_on = threading.Event()
        self._scripts: dict[str, list[Answer]] = {}

    def script(self, path: str, *answers: Answer) -> str:
        """Set a path's answers and return its address."""
        self._scripts[path] = list(answers)
        return self.url + path

    def answer(self, path: str) -> Answer:
        """Return the answer that is next."""
        script = self._scripts.get(path, [status(404)])
        return script.pop(0) if len(script) > 1 else script[0]

    def ranges(self) -> list[tuple[str | None, str | None]]:
        """Return what each request asked for as `Range` and `If-Range`."""
        return [(headers.get("Range"), headers.get("If-Range")) for _, headers in self.asked]

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.asked.append((self.path, dict(self.headers)))
        self.server.answer(self.path)(self)

    def head(self, code: int, **headers: object) -> None:
        self.send_response(code)
        for name, value in ({"Connection": "close"} | headers).items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def body(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()
        self.server.sent += len(data)

    def log_message(self, *_: object) -> None:
        pass


Answer = Callable[[_Handler], None]


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[FaultyServer]:
    """Run a server, under TLS where it is given a file with a certificate and its key."""
    with FaultyServer() as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.url = server.url.replace("http:", "https:")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server
        finally:
            server.go_on.set()
            server.shutdown()


def honest(content: bytes = CONTENT, tag: str | None = TAG, until: float = 1.0, *, stall: bool = False) -> Answer:
    """Answer ranges as the standard says, but hang up at a fraction of the file; or wait there first."""

    def answer(handler: _Handler) -> None:
        headers = {} if tag is None else {"ETag": tag}
        wanted = handler.headers.get("Range")
        if wanted and handler.headers.get("If-Range") == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.head(206, Content_Length=len(content) - start, **headers)
        else:
            start = 0
            handler.head(200, Content_Length=len(content), **headers)
        end = int(len(content) * until)
        handler.body(content[start:end])
        if stall:
            handler.server.halfway.set()
            handler.server.go_on.wait(60)

    return answer


def status(code: int, **headers: object) -> Answer:
    """Answer with a status and a page that explains it."""
    return lambda handler: (handler.head(code, Content_Length=5, **headers), handler.body(b"sorry"))[1]


def always(body: bytes, code: int = 200, **headers: object) -> Answer:
    """Answer with a body whatever is asked; without a length unless one is given."""
    return lambda handler: (handler.head(code, **headers), handler.body(body))[1]


def packed(until: float = 1.0) -> Answer:
    """Answer in gzip, although the file as it is was asked for."""
    body = gzip.compress(CONTENT)
    return always(body[: int(len(body) * until)], Content_Encoding="gzip", Content_Length=len(body), ETag=TAG)


def chunked(body: bytes, *, ended: bool = True, **headers: object) -> Answer:
    """Answer in chunks, with or without the last one."""
    data = b"%x\r\n%s\r\n" % (len(body), body) + (b"0\r\n\r\n" if ended else b"")
    return always(data, Transfer_Encoding="chunked", **headers)


def drip(handler: _Handler) -> None:
    """Send a few bytes now and then."""
    handler.head(200, Content_Length=len(CONTENT), ETag=TAG)
    for byte in CONTENT:
        handler.body(bytes([byte]))
        if handler.server.go_on.wait(0.005):
            return


def silence(handler: _Handler) -> None:
    """Send nothing at all."""
    handler.server.go_on.wait(60)


def endless(handler: _Handler) -> None:
    """Send for as long as anybody listens."""
    handler.head(200, ETag=TAG)
    while not handler.server.go_on.is_set():
        handler.body(bytes(2**16))


def no_http(handler: _Handler) -> None:
    """Speak another language."""
    handler.body(b"220 mail.example ready\r\n")


def when_all_are_here(folder: Path, number: int) -> Answer:
    """Answer honestly as soon as `number` files lie in a folder: one per process that has started."""

    def answer(handler: _Handler) -> None:
        while len(list(folder.iterdir())) < number and not handler.server.go_on.wait(0.01):
            pass
        honest()(handler)

    return answer


def self_signed(path: Path) -> Path:
    """Write a certificate for this machine that nobody vouches for, with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(certificate.public_bytes(pem) + private)
    return path
