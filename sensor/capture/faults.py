"""Faults of the program in what it does with packets; the process that captures says them.

Before packets are read, whoever notes one hands on what it concerns, so that no packet is lost by it. What the pipeline
fails on is given up, and that alone.
"""

EXAMPLE_OCTETS = 54  # headers: what follows may be somebody's password


class Faults:
    """How many packets, names or observations an error kept the program from judging.

    `first` is the first of these errors, with the beginning of the packet, or the name. Who says it sets it to None.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first: tuple[Exception, bytes] | None = None

    def note(self, error: Exception, octets: bytes) -> None:
        """Count `error`, in what was done with the packet or name `octets`."""
        self.count += 1
        if self.first is None:
            self.first = error, octets[:EXAMPLE_OCTETS]
