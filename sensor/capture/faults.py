"""Faults of the program in sorting packets out before they are read.

Whoever notes one hands on what it concerns, so that no packet is lost by it; the process that captures says it.
"""

EXAMPLE_OCTETS = 54  # headers: what follows may be somebody's password


class Faults:
    """How many packets and names an error kept the program from judging.

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
