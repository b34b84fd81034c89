import time
from pathlib import Path

from db.store import open_store
from molecatcher.lists.list_files import ListFiles
from molecatcher.lists.published import LONGEST_PREPARATION_S, PublishedLists
from rules.lists.blocklist import ListName, NameEntry, NameList, Scope, Snapshot, first_serial
from rules.lists.guards import Guard, Spared
from rules.policy.profiles import AGENTS_ONLY, STRICT

NAMES = ListName.UNSANCTIONED_DOMAINS
NOW_NS = 1_900_000_000_000_000_000
FIRST = first_serial(NOW_NS)


def names(count: int) -> NameList:
    entries = tuple(NameEntry(f"n{number:03}.example", Scope.EXACT, "ngrok") for number in range(count))
    return NameList(blocked=entries, wide=entries)


def test_a_list_that_was_withdrawn_is_measured_against_what_it_was(tmp_path: Path) -> None:
    with open_store(tmp_path / "events.db") as store:
        lists = PublishedLists(store, ListFiles(tmp_path / "lists"), lambda: NOW_NS)
        assert lists.publish(NAMES, AGENTS_ONLY, names(40), Spared())
        lists.withdraw_all()
        assert lists.snapshot(NAMES) is None
        for body, guard in ((names(2), Guard.SHRINK), (names(0), Guard.EMPTY)):
            assert not lists.publish(NAMES, AGENTS_ONLY, body, Spared())
            held = lists.held(NAMES)
            assert held
            assert guard in {refusal.guard for refusal in held.refusals}
            assert lists.snapshot(NAMES) is None
        assert lists.publish(NAMES, AGENTS_ONLY, names(39), Spared())
        snapshot = lists.snapshot(NAMES)
        assert snapshot
        assert (snapshot.serial, lists.held(NAMES)) == (FIRST + 1, None)


def test_a_list_that_was_withdrawn_goes_on_where_it_was_without_a_database(tmp_path: Path) -> None:
    now_ns = [NOW_NS]
    with open_store(tmp_path / "events.db") as store, open_store(tmp_path / "new.db") as empty:
        lists = PublishedLists(store, ListFiles(tmp_path / "lists"), lambda: now_ns[0])
        for count in (38, 39, 40):
            assert lists.publish(NAMES, AGENTS_ONLY, names(count), Spared())
        before = lists.snapshot(NAMES)
        lists.withdraw_all()
        assert lists.publish(NAMES, AGENTS_ONLY, names(40), Spared())
        assert lists.snapshot(NAMES) == before
        lists.withdraw_all()
        lists._store = empty
        now_ns[0] += 1
        assert lists.publish(NAMES, AGENTS_ONLY, names(41), Spared())
    after = lists.snapshot(NAMES)
    assert after
    assert after.serial == FIRST + 3
    assert sorted({entry.first_listed_ns for entry in after.body.blocked}) == [NOW_NS, NOW_NS + 1]


def test_a_list_is_prepared_before_anybody_is_handed_it(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    with open_store(tmp_path / "events.db") as store:

        def prepare(snapshot: Snapshot, _until_s: float) -> None:
            in_force = lists.snapshot(NAMES)
            seen.append((snapshot.serial, in_force.serial if in_force else None))

        files = ListFiles(tmp_path / "lists")
        lists = PublishedLists(store, files, lambda: NOW_NS, prepare)
        for count in (40, 40, 39):
            assert lists.publish(NAMES, AGENTS_ONLY, names(count), Spared())
        assert seen == [(FIRST, None), (FIRST + 1, FIRST)]
        lists.prepare_all()
        assert seen[2:] == [(FIRST + 1, FIRST + 1)]


def test_all_that_changes_at_once_is_prepared_within_one_bound(tmp_path: Path) -> None:
    bounds = []
    with open_store(tmp_path / "events.db") as store:
        files = ListFiles(tmp_path / "lists")
        lists = PublishedLists(store, files, lambda: NOW_NS, lambda _, until_s: bounds.append(until_s))
        began_s = time.monotonic()
        with lists.changing():
            for profile in (AGENTS_ONLY, STRICT):
                assert lists.publish(NAMES, profile, names(40), Spared())
        lists.prepare_all()
    assert bounds[0] == bounds[1]
    assert bounds[2] == bounds[3]
    for bound in bounds:
        assert LONGEST_PREPARATION_S <= bound - began_s < LONGEST_PREPARATION_S + 10


def test_a_list_in_force_that_hits_what_is_spared_is_replaced_without_waiting(tmp_path: Path) -> None:
    prepared = []
    spared = {"n001.example": NameEntry("n001.example", Scope.SUBTREE, "ngrok")}
    rest = tuple(entry for entry in names(40).blocked if entry.name not in spared)
    with open_store(tmp_path / "events.db") as store:
        files = ListFiles(tmp_path / "lists")
        lists = PublishedLists(store, files, lambda: NOW_NS, lambda it, _: prepared.append(it.serial))
        assert lists.publish(NAMES, AGENTS_ONLY, names(40), Spared())
        body = NameList(blocked=rest, wide=rest, allowed=tuple(spared.values()))
        assert lists.publish(NAMES, AGENTS_ONLY, body, Spared(names=spared))
        snapshot = lists.snapshot(NAMES)
        assert snapshot
        assert (snapshot.serial, prepared) == (FIRST + 1, [FIRST])
        narrowed = NameList(blocked=rest[1:], wide=rest[1:], allowed=tuple(spared.values()))
        lists.narrow(NAMES, AGENTS_ONLY, narrowed, Spared(names=spared))
        narrower = lists.snapshot(NAMES)
        assert narrower
        assert (narrower.serial, prepared) == (FIRST + 2, [FIRST])
