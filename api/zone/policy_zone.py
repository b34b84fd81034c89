"""A zone made from the snapshot in force, whole or as the difference to an earlier snapshot."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import chain

from api.feeds.names import name_list
from api.feeds.rpz import SERIAL_MODULUS
from api.zone.records import Records, name_servers, pack, policies, soa
from rules.lists.blocklist import NameList, Snapshot
from rules.policy.profiles import DEFAULT_PROFILE

MAX_DIFFERENCES = 8
LEAST_OCTETS = 14  # of a record: a pointer and a label of two, type, class, TTL, length, a target of one


class PolicyZone:
    """Transfers of one zone. Those of the snapshot in force are made once and kept: `MAX_DIFFERENCES`, and the whole.

    Args:
        snapshot: the list in force, None while there is none.
        kept: an earlier snapshot by its serial, None when it is not kept (any more).
        profile: whose list it is.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot | None],
        kept: Callable[[int], Snapshot | None] = lambda _serial: None,
        profile: str = DEFAULT_PROFILE,
    ) -> None:
        self.profile = profile
        self._snapshot = snapshot
        self._kept = kept
        self._making = threading.Lock()
        self._serial = 0
        self._whole: tuple[Records, ...] = ()
        self._differences: OrderedDict[int, tuple[Records, ...]] = OrderedDict()

    def current(self) -> Snapshot | None:
        """Return what the zone is made of; None before the first list, and while an empty one is not known to be meant.

        An empty zone ends all protection. A list that became empty was confirmed by a person; the very first was not.
        """
        snapshot = self._snapshot()
        if snapshot is None or not isinstance(snapshot.body, NameList):
            return None
        return snapshot if snapshot.body.wide or not snapshot.is_first else None

    def whole(self, snapshot: Snapshot) -> tuple[Records, ...]:
        """Return the messages of an AXFR (RFC 5936 section 2.2). Costs O(records x labels), once.

        Raises:
            UnrenderableSnapshot: it cannot be a zone.
        """
        with self._making:
            self._begin(snapshot)
            if not self._whole:
                records = (record for _, record in policies(name_list(snapshot)))
                own = soa(snapshot.serial)
                self._whole = tuple(pack(chain([own, name_servers()], records, [own])))
            return self._whole

    def changes(self, client_serial: int, snapshot: Snapshot) -> tuple[Records, ...] | None:
        """Return the messages of an IXFR from the client's serial (RFC 1995 section 4), condensed to one difference.

        None when that snapshot is not kept, or the whole zone is no longer: then an AXFR is due.

        Raises:
            UnrenderableSnapshot: one of both cannot be a zone.
        """
        serial = snapshot.serial - _distance(client_serial, snapshot.serial)
        with self._making:
            self._begin(snapshot)
            if serial not in self._differences:
                earlier = self._kept(serial)
                if earlier is None or not isinstance(earlier.body, NameList):
                    return None
                self._differences[serial] = tuple(pack(_difference(earlier, snapshot)))
            self._differences.move_to_end(serial)
            while len(self._differences) > MAX_DIFFERENCES:
                self._differences.popitem(last=False)
            found = self._differences[serial]
        is_small = _octets(found) < LEAST_OCTETS * len(name_list(snapshot).wide)  # the whole need not be made for it
        return found if is_small or _octets(found) < _octets(self.whole(snapshot)) else None

    def _begin(self, snapshot: Snapshot) -> None:
        """Forget what was made of another snapshot."""
        if self._serial != snapshot.serial:
            self._serial, self._whole = snapshot.serial, ()
            self._differences.clear()


def is_up_to_date(client_serial: int, snapshot: Snapshot) -> bool:
    """Tell whether a client has this zone, or a newer one (RFC 1982 section 3.2)."""
    distance = _distance(client_serial, snapshot.serial)
    return distance == 0 or distance > SERIAL_MODULUS // 2


def _distance(client_serial: int, serial: int) -> int:
    return (serial - client_serial) % SERIAL_MODULUS


def _difference(old: Snapshot, new: Snapshot) -> Iterator[bytes]:
    removed, added = _compare(name_list(old), name_list(new))
    return chain([soa(new.serial), soa(old.serial)], removed, [soa(new.serial)], added, [soa(new.serial)])


def _compare(old: NameList, new: NameList) -> tuple[list[bytes], list[bytes]]:
    """Return the records that went and that came; the memory is that of the differences."""
    removed: list[bytes] = []
    added: list[bytes] = []
    before, after = policies(old), policies(new)
    left, right = next(before, None), next(after, None)
    while left or right:
        if left and right and left[1] == right[1]:
            left, right = next(before, None), next(after, None)
        elif left and (not right or _order(left[0]) <= _order(right[0])):
            removed.append(left[1])
            left = next(before, None)
        elif right:
            added.append(right[1])
            right = next(after, None)
    return removed, added


def _order(owner: str) -> tuple[str, bool]:
    name = owner.removeprefix("*.")
    return name, name != owner


def _octets(transfer: tuple[Records, ...]) -> int:
    return sum(len(message.octets) for message in transfer)
