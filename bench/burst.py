"""Sends frames as fast as the interface takes them: `python burst.py INTERFACE FILE LOOPS`.

It prints how many were sent, the seconds and the CPU seconds that took.

FILE holds frames, each after its length and the offset of an octet that is raised by one in each loop (0: none), both
as 16-bit numbers in network order. A process of its own, so that nobody shares its interpreter.
"""

import ctypes
import os
import socket
import struct
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

PACKET_QDISC_BYPASS = 20
SOL_PACKET = 263
BATCH = 64

Patched = tuple[bytes, int]


class Iovec(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("octets", ctypes.c_size_t))


class Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_octets", ctypes.c_uint32),
        ("vector", ctypes.POINTER(Iovec)),
        ("vectors", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_octets", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("sent", ctypes.c_uint32),
    )


def pack(frames: Iterable[Patched]) -> bytes:
    """Return the file of `frames`."""
    return b"".join(struct.pack("!HH", len(frame), patch) + frame for frame, patch in frames)


def unpack(packed: bytes) -> list[Patched]:
    """Return the frames of a file."""
    frames: list[Patched] = []
    at = 0
    while at < len(packed):
        octets, patch = struct.unpack_from("!HH", packed, at)
        frames.append((packed[at + 4 : at + 4 + octets], patch))
        at += 4 + octets
    return frames


class Burst:
    """Frames laid out for sendmmsg(2)."""

    def __init__(self, frames: Sequence[Patched]) -> None:
        self._buffers = [ctypes.create_string_buffer(frame, len(frame)) for frame, _ in frames]
        self._patches = [patch for _, patch in frames]
        self._vectors = (Iovec * len(frames))()
        self._messages = (Message * len(frames))()
        for number, buffer in enumerate(self._buffers):
            self._vectors[number] = Iovec(ctypes.addressof(buffer), len(buffer))
            self._messages[number].vector = ctypes.pointer(self._vectors[number])
            self._messages[number].vectors = 1

    def __len__(self) -> int:
        return len(self._buffers)

    def send(self, sock: socket.socket) -> None:
        """Send all frames once. Raises OSError if the interface refuses one."""
        libc = ctypes.CDLL(None, use_errno=True)
        done, size = 0, ctypes.sizeof(Message)
        while done < len(self._buffers):
            count = min(BATCH, len(self._buffers) - done)
            sent = libc.sendmmsg(sock.fileno(), ctypes.byref(self._messages, done * size), count, 0)
            if sent < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            done += sent

    def raise_patches(self) -> None:
        """Make the frames those of the next loop."""
        for buffer, patch in zip(self._buffers, self._patches, strict=True):
            if patch:
                buffer[patch] = bytes(((buffer[patch][0] + 1) & 0xFF,))


def main(interface: str, path: str, loops: int) -> None:
    """Send `loops` loops and print what was sent and what it took."""
    burst = Burst(unpack(Path(path).read_bytes()))
    frames, seconds, cpu = 0, 0.0, 0.0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        sock.bind((interface, 0))
        for _ in range(loops):
            started, worked = time.monotonic(), time.process_time()
            burst.send(sock)
            seconds += time.monotonic() - started
            cpu += time.process_time() - worked
            frames += len(burst)
            burst.raise_patches()
    sys.stdout.write(f"{frames} {seconds} {cpu}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
