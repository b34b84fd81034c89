"""A process of its own that may look into other users' processes, and the sensor's end of the line to it.

A question is a socket (inode and user), 12 octets; the answer is a process as JSON, `null` for none, 4 kB at most.
Only processes of the service's own user, and root's, are answered.
"""

import contextlib
import os
import selectors
import socket
import struct
from pathlib import Path
from typing import Final

import msgspec

from rules.values.source import Process
from sensor.attribution.processes import ProcessTable
from sensor.attribution.sockets import Socket

MAX_CLIENTS: Final = 40  # a sensor has up to 32 workers
ANSWER_OCTETS: Final = 4096
ANSWER_S: Final = 2.0
TURN_S: Final = 1.0
_QUESTION: Final = struct.Struct("=QI")
_CREDENTIALS: Final = struct.Struct("=iII")  # struct ucred: pid, uid, gid
_ANSWER: Final[msgspec.json.Decoder[Process | None]] = msgspec.json.Decoder(Process | None)


class ProcessService:
    """Answers at the socket `path`, which it makes anew with mode 0600."""

    def __init__(self, path: Path) -> None:
        self._table = ProcessTable()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path.unlink(missing_ok=True)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(MAX_CLIENTS)
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._listener, selectors.EVENT_READ)

    def turn(self, timeout_s: float = TURN_S) -> None:
        """Answer what was asked, or wait for that."""
        for key, _ in self._ready.select(timeout_s):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.fileobj, socket.socket):
                self._answer(key.fileobj)

    def close(self) -> None:
        """End all lines, and the socket."""
        for key in list(self._ready.get_map().values()):
            self._ready.unregister(key.fileobj)
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._ready.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(credentials)
        if uid not in (os.geteuid(), 0) or len(self._ready.get_map()) > MAX_CLIENTS:
            client.close()
            return
        client.setblocking(False)
        self._ready.register(client, selectors.EVENT_READ)

    def _answer(self, client: socket.socket) -> None:
        try:
            question = client.recv(_QUESTION.size + 1)
            if len(question) == _QUESTION.size:
                client.send(msgspec.json.encode(self._table.find(Socket(*_QUESTION.unpack(question)))))
                return
        except OSError:  # it does not wait for its answers
            pass
        self._ready.unregister(client)
        client.close()


class ProcessClient:
    """Asks the service at `path`; where none answers, what this process may see itself is the answer."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._line: socket.socket | None = None
        self._own = ProcessTable()

    def find(self, wanted: Socket) -> Process | None:
        """Return the process that holds a socket; None if there is none, or nobody may see it."""
        if self._path is None:
            return self._own.find(wanted)
        try:
            return self._ask(self._path, wanted)
        except (OSError, msgspec.DecodeError):
            self.close()
            return self._own.find(wanted)

    def close(self) -> None:
        """End the line."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _ask(self, path: Path, wanted: Socket) -> Process | None:
        if self._line is None:
            with contextlib.ExitStack() as stack:
                line = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                line.settimeout(ANSWER_S)
                line.connect(str(path))
                stack.pop_all()
                self._line = line
        self._line.send(_QUESTION.pack(*wanted))
        return _ANSWER.decode(self._line.recv(ANSWER_OCTETS))
