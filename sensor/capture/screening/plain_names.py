"""Which names are of interest: asked once each, and only those that the rules speak of (screen.h)."""

from collections.abc import Sequence
from typing import Final

from sensor.capture.screening.plain_dns import may_carry_data, read_question
from sensor.capture.screening.plain_hello import read_host, read_protocols
from sensor.capture.screening.screen import Ask, Asked

NAMES: Final = 8_192  # of each kind, in the form that packets have them in
ANSWERS: Final = 8_192

_QUESTION: Final = Asked.QUESTION
_NAME: Final = Asked.NAME
_PROTOCOL: Final = Asked.PROTOCOL


class Names:
    """Names of no interest, as text and as octets of packets; `ask` is asked about others.

    `questions` are the names asked for as they stand in a question (plain, and in lower case), each with its text.
    A table that is full is emptied: then each name is asked about once more.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._followed: frozenset[str] | None = None
        self._spoken: frozenset[str] | None = None
        self._dull: set[tuple[int, str]] = set()
        self.questions: dict[bytes, str] = {}
        self._hosts: set[bytes] = set()
        self._alpns: set[bytes] = set()

    def ask_again(self, names: Sequence[str]) -> None:
        """As `Screen.ask_again`."""
        self._forget()
        self._spoken = self._followed | frozenset(names) if self._followed is not None else None

    def follow(self, names: Sequence[str] | None) -> None:
        """As `Screen.follow`."""
        self._forget()
        self._followed = self._spoken = frozenset(names) if names is not None else None

    def _forget(self) -> None:
        for table in (self._dull, self.questions, self._hosts, self._alpns):
            table.clear()

    def is_of_interest(self, kind: Asked, name: str) -> bool:
        """Tell whether something might come of `name`."""
        is_asked = kind is _PROTOCOL or (kind is _QUESTION and may_carry_data(name)) or self._is_spoken_of(name)
        if not is_asked or (kind, name) in self._dull:
            return False
        if self._ask(kind, name):
            return True
        if len(self._dull) >= ANSWERS:
            self._dull.clear()
        self._dull.add((kind, name))
        if kind is _QUESTION:
            self._dull.add((_NAME, name))
        return False

    def _is_spoken_of(self, name: str) -> bool:
        """Tell whether the rules speak of `name`, or one that it is below, or by its letter (`f*.example.com`)."""
        spoken = self._spoken
        if spoken is None or not name:
            return bool(name)
        at = 0
        while at >= 0:
            dot = name.find(".", at)
            above = name[dot:] if dot >= 0 else ""
            if name[at:] in spoken or f"{name[at]}*{above}" in spoken:
                return True
            at = dot + 1 if dot >= 0 else -1
        return False

    def question(self, wire: bytes) -> str | None:
        """Return the name that stands in a question as `wire` if it is plain and known to be of no interest.

        So is one that nobody needs to be asked about.
        """
        name = self.questions.get(wire)
        if name is None and (name := read_question(wire)) is not None:
            if may_carry_data(name) or self._is_spoken_of(name):
                return None
            self.note_question(wire, name)
        return name

    def note_question(self, question: bytes, name: str) -> None:
        """Take note that a name of no interest stands in a question as `question`."""
        if len(self.questions) >= NAMES:
            self.questions.clear()
        self.questions[question] = name

    def is_dull_hello(self, server: bytes, alpn: bytes) -> bool:
        """Tell whether server name and protocols of a hello are plain and of no interest."""
        return (server in self._hosts or self._is_dull_host(server)) and (
            alpn in self._alpns or self._are_dull_protocols(alpn)
        )

    def _is_dull_host(self, server: bytes) -> bool:
        name = read_host(server)
        if name is None or self.is_of_interest(_NAME, name):
            return False
        if len(self._hosts) >= NAMES:
            self._hosts.clear()
        self._hosts.add(server)
        return True

    def _are_dull_protocols(self, alpn: bytes) -> bool:
        names = read_protocols(alpn)
        if names is None or any(self.is_of_interest(_PROTOCOL, name) for name in names):
            return False
        if len(self._alpns) >= NAMES:
            self._alpns.clear()
        self._alpns.add(alpn)
        return True
