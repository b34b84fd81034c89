"""What DNS messages said that were passed over: who was told which address, who asked for which name."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from sensor.capture.screening.plain_suspects import DOUBT_NS
from sensor.capture.screening.plain_tables import first_quarter

ANSWERS_OCTETS: Final = 4 << 20
ASKED: Final = 16_384
CLIENTS: Final = 8_192

_ROW_OCTETS: Final = 320  # of an answer at an address, besides the message
_MOST_ROWS: Final = 8  # of a client and an address
_NEVER: Final = -1

_Pair = tuple[bytes, bytes]
_Row = tuple[int, bytes, str, int]  # when it came, the message, its question, how often there had been other rules


class Told:
    """The answers that led clients to addresses; `evicted` counts those that had to make room."""

    def __init__(self) -> None:
        self.evicted = 0
        self.octets = 0
        self._rows: OrderedDict[_Pair, tuple[_Row, ...]] = OrderedDict()
        self._rules = 0
        self._are_older = False  # rows that were judged by other rules

    def follow(self) -> None:
        """Take note that there are other rules."""
        self._rules += 1
        self._are_older = bool(self._rows)

    def keep(self, client: bytes, addresses: Sequence[bytes], question: str, message: bytes, ts_ns: int) -> None:
        """Keep an answer as it is for who asks by client and address."""
        rows, row = self._rows, (ts_ns, message, question, self._rules)
        for address in addresses:
            pair = client, address
            known = rows.get(pair)
            if known is None:
                rows[pair] = (row,)
            else:
                rows[pair] = self._with(known, row)
                rows.move_to_end(pair)
            self.octets += _ROW_OCTETS + len(message)
        while self.octets > ANSWERS_OCTETS:
            _, dropped = rows.popitem(last=False)
            self._drop(dropped)
            self.evicted += len(dropped)

    def _drop(self, dropped: Sequence[_Row]) -> None:
        for row in dropped:
            self.octets -= _ROW_OCTETS + len(row[1])

    def _with(self, known: tuple[_Row, ...], row: _Row) -> tuple[_Row, ...]:
        """Return the rows of a pair with a new one.

        Two are kept of a name: the pipeline may not have come to the time of the newest yet. So the older goes once it
        surely has, before that the newer.
        """
        ts_ns, _, question, _ = row
        same = [old for old in known if old[2] == question]
        if len(same) > 1:
            dropped = same[0] if same[1][0] + DOUBT_NS < ts_ns else same[1]
        elif len(known) == _MOST_ROWS:
            dropped = known[0]
            self.evicted += 1
        else:
            return (*known, row)
        self._drop((dropped,))
        if len(known) == 2:  # noqa: PLR2004 - as nearly always
            return known[dropped is known[0]], row
        return (*(old for old in known if old is not dropped), row)

    def take(self, client: bytes, address: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        """As `Screen.answers`."""
        known = self._rows.pop((client, address), ())
        later = tuple(row for row in known if row[0] > now_ns)
        if later:
            self._rows[client, address] = later
        taken = [row for row in known if row[0] <= now_ns]
        self._drop(taken)
        return [row[:2] for row in taken]

    def is_told_before(self, client: bytes, address: bytes) -> bool:
        """Tell whether what led here was judged by other rules than those in force."""
        return self._are_older and any(row[3] < self._rules for row in self._rows.get((client, address), ()))


class AskedFor:
    """When clients last asked for names, and since when they are watched; `evicted` counts names that made room.

    Who loses a name early counts as newly watched, so that nobody says of it that the name was not asked for.
    """

    def __init__(self) -> None:
        self.evicted = 0
        self.watched: dict[bytes, int] = {}
        self._asked: dict[tuple[bytes, str], int] = {}

    def watch(self, client: bytes, now_ns: int) -> None:
        """Take note that look-ups of a client that is not watched are seen from now on."""
        if len(self.watched) >= CLIENTS:
            for old in first_quarter(self.watched):
                del self.watched[old]
        self.watched[client] = now_ns

    def note(self, client: bytes, name: str, now_ns: int) -> None:
        """Take note that a client that is watched asked for `name`, or was told it as an alias."""
        asked, pair = self._asked, (client, name)
        if pair in asked:
            del asked[pair]  # to the end: it is as good as new
        elif len(asked) >= ASKED:
            self._make_room(now_ns)
        asked[pair] = now_ns

    def _make_room(self, now_ns: int) -> None:
        for pair in first_quarter(self._asked):
            del self._asked[pair]
            self.evicted += 1
            if pair[0] in self.watched:
                self.watched[pair[0]] = now_ns

    def times(self, client: bytes, name: str) -> tuple[int, int]:
        """As `Screen.asked`."""
        return self._asked.get((client, name), _NEVER), self.watched.get(client, _NEVER)
