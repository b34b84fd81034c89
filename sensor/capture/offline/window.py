"""The octets of a file that are looked at now, in one place that compiled code reads as well."""

from sensor.capture.offline.chunks import ChunkReader

WINDOW_OCTETS = 1 << 20  # of 128 KiB it takes a quarter more time


class Window:
    """A part of the file: `octets[at:end]`, which begins with `head`. Whoever reads it moves `at` on.

    `is_exhausted` tells that nothing of the file follows behind it.
    """

    def __init__(self, chunks: ChunkReader, head: bytes, at: int = 0) -> None:
        self.octets = bytearray(max(WINDOW_OCTETS, len(head)))
        self.octets[: len(head)] = head
        self.view = memoryview(self.octets)
        self.at, self.end = at, len(head)
        self.is_exhausted = False
        self._chunks = chunks
        self._before = 0  # octets of the file before the window

    @property
    def offset(self) -> int:
        """Return where in the file, inflated, `at` stands."""
        return self._before + self.at

    def fill(self) -> bool:
        """Move what is left to the front and return whether there was more of the file.

        Raises:
            MalformedCapture: what it is compressed with is damaged.
            CaptureError: the device fails.
        """
        rest = self.octets[self.at : self.end]
        self.octets[: len(rest)] = rest
        self._before += self.at
        self.at, self.end = 0, len(rest)
        octets = self._chunks.read_into(self.view[self.end :])
        self.end += octets
        self.is_exhausted = not octets
        return octets > 0

    def has(self, octets: int) -> bool:
        """Return whether so many octets stand in the window; it has room for 1 MiB."""
        return self.end - self.at >= octets

    def reach(self, octets: int) -> bool:
        """Return whether so many octets stand in the window, after reading more if need be.

        Raises:
            MalformedCapture, CaptureError: as `fill`.
        """
        while self.end - self.at < octets:
            if not self.fill():
                return False
        return True

    def skip(self, octets: int) -> bool:
        """Move on by so many octets, however many; return whether the file has them.

        Raises:
            MalformedCapture, CaptureError: as `fill`.
        """
        while octets > (held := self.end - self.at):
            octets -= held
            self.at = self.end
            if not self.fill():
                return False
        self.at += octets
        return True
