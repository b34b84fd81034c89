"""A server that answers every question with the same octets, whatever these are."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

NOT_HTTP = {
    "no status line": b"hello\r\n\r\n",
    "a status that is no number": b"HTTP/1.1 abc X\r\n\r\n",
    "a length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nxx",
    "cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nxx",
    "a chunk that is none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "a header without end": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n",
    "nothing": b"",
    "a status of nobody's": b"HTTP/1.1 520 Web Server Returned an Unknown Error\r\nContent-Length: 0\r\n\r\n",
}


@contextmanager
def answering(octets: bytes) -> Iterator[str]:
    """Yield the address of such a server, without a slash at its end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer, args=(listener, octets))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _answer(listener: socket.socket, octets: bytes) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # the end
            return
        with connection:
            connection.settimeout(60)
            connection.recv(65_536)
            connection.sendall(octets)
