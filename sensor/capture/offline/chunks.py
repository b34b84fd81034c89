"""The octets of a capture file in large chunks: from disk or standard input, plain or gzip."""

import os
import stat
import sys
import zlib
from typing import BinaryIO

from sensor.errors import CaptureError, MalformedCapture

CHUNK_OCTETS = 1 << 17  # larger ones are returned to the kernel each time: four times the system time
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW_BITS = 31  # zlib's way to say: a gzip header


class ChunkReader:
    """Chunks of at most 128 KiB, inflated if the file starts like gzip; memory stays bounded however far it inflates.

    `is_cut` tells that a gzip stream ended before its end mark.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.is_cut = False
        self._stream = stream
        self._file_octets = _size_of(stream)
        self._taken = 0
        self._ahead = b""  # read, but too much for the last window
        self._pending = self._take(len(_GZIP_MAGIC))
        self._inflate = zlib.decompressobj(_GZIP_WINDOW_BITS) if self._pending == _GZIP_MAGIC else None

    @property
    def progress(self) -> tuple[int, int] | None:
        """Return octets taken and the size of the file, or None if it has no size (a pipe)."""
        return (self._taken, self._file_octets) if self._file_octets else None

    def read(self) -> bytes:
        """Return the next octets, b"" at the end.

        Raises:
            MalformedCapture: the gzip stream is damaged; the offset is that in the compressed file.
            CaptureError: the device fails.
        """
        if self._inflate is not None:
            return self._read_inflated()
        chunk = self._pending or self._take(CHUNK_OCTETS)
        self._pending = b""
        return chunk

    def read_into(self, window: memoryview) -> int:
        """Return how many of the next octets were put into `window`, 0 at the end.

        Raises:
            MalformedCapture, CaptureError: as `read`.
        """
        if self._inflate is None and not self._pending and not self._ahead:
            return self._take_into(window)
        chunk = self._ahead or self.read()
        octets = min(len(chunk), len(window))
        window[:octets] = chunk[:octets]
        self._ahead = chunk[octets:]
        return octets

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self._stream is not sys.stdin.buffer:
            self._stream.close()

    def _take(self, octets: int) -> bytes:
        try:
            chunk = self._stream.read(octets)
        except OSError as error:
            raise _unreadable(error) from error
        self._taken += len(chunk)
        return chunk

    def _take_into(self, window: memoryview) -> int:
        try:
            octets = self._stream.readinto(window)  # type: ignore[attr-defined]  # BinaryIO lacks it, its kinds do not
        except OSError as error:
            raise _unreadable(error) from error
        self._taken += octets
        return int(octets)

    def _read_inflated(self) -> bytes:
        while self._inflate is not None:
            try:
                chunk = self._inflate.decompress(self._pending, CHUNK_OCTETS)
            except zlib.error as error:
                raise MalformedCapture(self._taken, f"damaged gzip data ({error})") from error
            self._pending = self._inflate.unconsumed_tail
            if chunk:
                return chunk
            if not self._next_input(self._inflate):
                self._inflate = None
        return b""

    def _next_input(self, inflate: "zlib._Decompress") -> bool:
        """Return whether there is more to inflate: the rest of this member, or another one (RFC 1952 section 2.2)."""
        if not inflate.eof:
            self._pending = self._pending or self._take(CHUNK_OCTETS)
            self.is_cut = not self._pending
            return not self.is_cut
        self._pending = inflate.unused_data or self._take(CHUNK_OCTETS)
        self._inflate = zlib.decompressobj(_GZIP_WINDOW_BITS)
        if not self._pending.strip(b"\0"):  # some tools pad the end with zeros
            self._pending = b""
        return self._pending != b""


def open_chunks(path: str) -> ChunkReader:
    """Return a reader of the file at `path`, `-` being standard input.

    Raises:
        CaptureError: it cannot be opened.
    """
    if path == "-":
        return ChunkReader(sys.stdin.buffer)
    try:
        stream = open(path, "rb")  # noqa: PTH123, SIM115 - closed by ChunkReader.close
    except OSError as error:
        raise CaptureError(f"cannot open {path}: {error.strerror}; check the path and your permissions") from error
    return ChunkReader(stream)


def _unreadable(error: OSError) -> CaptureError:
    return CaptureError(f"cannot read the capture: {error.strerror}; copy it to a sound disk first")


def _size_of(stream: BinaryIO) -> int:
    try:
        status = os.fstat(stream.fileno())
    except OSError:  # an in-memory stream has no descriptor
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
