"""How the sensor knows our own look-ups of listed names from everybody else's.

The address list needs the listed names resolved, and the sensor would report the host that resolves them. So the
resolver spells each name in upper and lower case as a secret says (names are compared without regard to case, and
answers repeat the question as it was asked: RFC 4343), and the sensor passes over questions spelled that way. The mark
is lost where a resolver on this host or behind this sensor asks again in a spelling of its own.
"""

import hmac
from hashlib import sha256


class OwnLookups:
    """Spells names as `secret` says. With n letters, a stranger's spelling is taken for ours once in 2**n."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def mark(self, name: str) -> str:
        """Return `name` in our spelling, which has at least one capital letter."""
        lower = name.lower()
        bits = int.from_bytes(hmac.digest(self._secret, lower.encode(), sha256))
        spelled = "".join(char.upper() if bits >> at % 256 & 1 else char for at, char in enumerate(lower))
        if spelled != lower:
            return spelled
        first = next((at for at, char in enumerate(lower) if char.isalpha()), 0)
        return lower[:first] + lower[first:].capitalize()

    def is_own(self, name: str, question: bytes) -> bool:
        """Tell whether a DNS question about lower-case `name` is ours; `question` is the name as it stood on the wire.

        Questions in lower case, nearly all, cost one comparison.
        """
        return question != question.lower() and question == _on_the_wire(self.mark(name))


def _on_the_wire(name: str) -> bytes:
    """Return a name as RFC 1035 section 3.1 writes it, without the root label."""
    return b"".join(bytes([len(label)]) + label.encode("ascii", "replace") for label in name.split("."))
