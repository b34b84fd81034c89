import sqlite3
import time
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path

import pytest
from free_ports import free_port
from observations import NOW_NS
from publishing import ADDRESSES, CATALOGUE, DAY_NS, NAMES, PINNED, RECORDS, SANCTION, Setting, policy, setting
from stored_events import make_event
from structlog.testing import capture_logs

from db.lists.values import SnapshotRow
from db.store import Store, open_store
from molecatcher.lists.published import PublishedLists
from molecatcher.names.resolve import NameResolver
from rules.lists.address_building import names_to_resolve
from rules.lists.blocklist import AddressList, ListName, NameList
from rules.lists.guards import Guard
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.verdict import Outcome


def test_both_families_are_resolved_and_published(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, "", RECORDS) as here:
        assert here.prefixes() is None
        assert here.publisher.resolve_and_publish()
        prefixes = here.prefixes()
    assert prefixes is not None
    assert {"3.1.2.3/32", "2600:1f00::7/128", "5.255.123.12/32"} <= prefixes


def test_the_sensor_is_told_agents_addresses_also_of_a_service_whose_addresses_are_not_listed(
    tmp_path: Path, store: Store
) -> None:
    with setting(tmp_path, store, SANCTION, RECORDS) as here:
        assert here.agents.poll() is None
        assert here.publisher.resolve_and_publish()
        prefixes, told = here.prefixes(), here.agents.poll()
    assert prefixes is not None
    assert "3.1.2.3/32" not in prefixes
    assert told is not None
    assert told["3.1.2.3"] == ("ngrok", "tunnel.us.ngrok.com")
    assert told["5.255.123.12"][0] == "serveo"
    assert here.agents.poll() is None


def test_no_sanctioned_address_is_published(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, PINNED, RECORDS) as here:
        assert here.publisher.resolve_and_publish()
        prefixes = here.prefixes()
    assert prefixes is not None
    assert "3.1.2.3/32" in prefixes
    assert not {"3.5.5.5/32", "3.9.0.1/32"} & prefixes


def test_addresses_of_what_sanctioned_agents_need_are_not_published(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, PINNED, RECORDS | {"crl.ngrok-agent.com": ("3.1.2.3",)}) as here:
        assert here.publisher.resolve_and_publish()
        prefixes = here.prefixes()
    assert prefixes is not None
    assert "2600:1f00::7/128" in prefixes
    assert "3.1.2.3/32" not in prefixes


def test_addresses_that_sanctioned_agents_were_seen_at_are_not_published(tmp_path: Path, store: Store) -> None:
    seen = make_event(
        1, verdict=Outcome.SANCTIONED, dst_ip="3.1.2.3", dst_name="us.tunnels.example.com", observed_at_ns=NOW_NS
    )
    store.append([seen])
    with setting(tmp_path, store, PINNED, RECORDS) as here:
        assert here.publisher.resolve_and_publish()
        prefixes = here.prefixes()
    assert prefixes is not None
    assert "2600:1f00::7/128" in prefixes
    assert "3.1.2.3/32" not in prefixes
    assert "us.tunnels.example.com" in {answer.name for answer in store.resolutions()}


def test_an_unpinned_sanctioned_service_is_withheld_whole(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, SANCTION, RECORDS) as here:
        assert here.publisher.resolve_and_publish()
        prefixes = here.prefixes()
    assert prefixes is not None
    assert "5.255.123.12/32" in prefixes
    assert "3.1.2.3/32" not in prefixes


def test_without_a_resolver_nothing_is_published(tmp_path: Path, store: Store) -> None:
    here = Setting(store, f"127.0.0.1#{free_port()}", "", tmp_path / "lists")
    here.publisher._lookups._resolver._resolver.lifetime = 0.2
    with capture_logs() as logs:
        assert not here.publisher.resolve_and_publish()
        assert not here.publisher.resolve_and_publish()
    assert [row["event"] for row in logs].count("addresses_not_published") == 1
    assert here.prefixes() is None
    assert "does this host have a DNS server" in here.publisher.resolution_problem
    assert here.publisher.why_unbuilt(ListName.UNSANCTIONED_ADDRESSES) == here.publisher.resolution_problem
    assert here.publisher.why_unbuilt(ListName.UNSANCTIONED_DOMAINS) == ""


def test_a_sanctioned_name_that_cannot_be_resolved_holds_everything_back(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, PINNED, RECORDS | {"tunnels.example.com": ("servfail",)}) as here:
        assert not here.publisher.resolve_and_publish()
        assert here.prefixes() is None
        assert "tunnels.example.com" in here.publisher.resolution_problem


def test_the_last_good_answer_is_kept_when_the_resolver_goes_away(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, "", RECORDS) as here:
        assert here.publisher.resolve_and_publish()
        before = here.prefixes()
    here.publisher._lookups._resolver._resolver.lifetime = 0.2
    assert here.publisher.resolve_and_publish()
    assert here.prefixes() == before


def test_an_answer_that_nobody_confirms_is_believed_for_a_week(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, "", RECORDS) as here:
        here.now_ns = time.time_ns()
        assert here.publisher.resolve_and_publish()
    here.publisher._lookups._resolver = NameResolver([f"127.0.0.1#{free_port()}"], timeout_s=0.1)
    here.now_ns += 6 * DAY_NS
    assert here.publisher.resolve_and_publish()
    assert "3.1.2.3/32" in (here.prefixes() or ())
    here.now_ns += 2 * DAY_NS
    here.publisher.resolve_and_publish()
    assert "3.1.2.3/32" not in (here.prefixes() or ())


def test_what_is_spared_is_shown_with_its_reason(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, PINNED, RECORDS | {"serveo.net": ("5.255.123.12", "10.1.1.1")}) as here:
        assert here.publisher.resolve_and_publish()
        snapshot = here.publisher.snapshot(ADDRESSES)
    assert snapshot is not None
    assert isinstance(snapshot.body, AddressList)
    shown = {row.address: (row.service, row.reason) for row in snapshot.body.spared}
    serial = snapshot.serial
    assert shown["3.5.5.5"] == ("ngrok", "a sanctioned name resolves to it, or was seen at it")
    assert shown["3.9.0.1"] == ("ngrok", "a sanctioned ingress is pinned to it")
    assert shown["10.1.1.1"] == ("serveo", "it is private or a sinkhole")
    with setting(tmp_path, store, PINNED, RECORDS | {"serveo.net": ("5.255.123.12", "10.2.2.2")}) as later:
        later.publisher._restore()
        assert later.publisher.resolve_and_publish()
        again = later.publisher.snapshot(ADDRESSES)
    assert again is not None
    assert isinstance(again.body, AddressList)
    assert again.serial == serial, "what is handed out is the same"
    assert {"10.2.2.2"} == {row.address for row in again.body.spared} - set(shown)
    assert not set(shown) & {entry.prefix.partition("/")[0] for entry in snapshot.body.blocked}


@pytest.mark.parametrize(("ttl_s", "pause_s"), [(5, 60), (90, 90), (4000, 300), (None, 300)])
def test_names_are_asked_again_when_their_answers_end(
    tmp_path: Path, store: Store, ttl_s: int | None, pause_s: float
) -> None:
    publisher = Setting(store, "127.0.0.1#9", "", tmp_path / "lists").publisher
    publisher._interval_s, publisher._lookups._resolver.shortest_ttl_s = 300, ttl_s
    assert publisher._pause_s() == pause_s


def test_a_restart_serves_the_stored_lists_with_the_same_serial(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, "", RECORDS) as here:
        here.publisher.publish_names()
        assert here.publisher.resolve_and_publish()
        again = Setting(store, "127.0.0.1#9", "", tmp_path / "lists")
        again.publisher._restore()
        again.publisher.publish_names()
        for name in ListName:
            assert again.publisher.snapshot(name) == here.publisher.snapshot(name)


def test_a_new_sanction_withdraws_the_addresses_at_once_and_renumbers_the_names(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, "", RECORDS) as here:
        here.publisher.publish_names()
        assert here.publisher.resolve_and_publish()
        first = here.publisher.snapshot(NAMES)
        here.now_ns += DAY_NS
        here.change(SANCTION)
        assert here.prefixes() is None
        second = here.publisher.snapshot(NAMES)
        assert first is not None
        assert second is not None
        assert second.serial == first.serial + 1
        assert here.publisher.resolve_and_publish()
        addresses = here.publisher.snapshot(ADDRESSES)
    assert addresses is not None
    assert {entry.first_listed_ns for entry in addresses.body.blocked} == {NOW_NS}, "what stayed is not new"


def test_a_stored_address_list_that_a_new_policy_forbids_is_not_taken_up(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, "", RECORDS) as here:
        assert here.publisher.resolve_and_publish()
    restarted = Setting(store, "127.0.0.1#9", SANCTION, tmp_path / "lists")
    restarted.publisher._restore()
    assert restarted.prefixes() is None


def test_a_database_that_fails_withdraws_rather_than_serve_a_forbidden_list(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, "", RECORDS) as here:
        here.publisher.publish_names()
        with sqlite3.connect(tmp_path / "molecatcher.db") as damage:
            damage.execute("DROP TABLE snapshots")
        here.change(SANCTION)
        assert here.publisher.snapshot(NAMES) is None


def test_only_names_that_agents_dial_are_asked_for() -> None:
    assert 30 < len(names_to_resolve(CATALOGUE, Policy(), NOW_NS)) < 200


def test_a_name_that_nobody_can_resolve_does_not_hold_the_list_back(tmp_path: Path, store: Store) -> None:
    names = ("broken..tunnels.example.com", "away.tunnels.example.com")
    for number, name in enumerate(names):
        event = make_event(number, verdict=Outcome.SANCTIONED, dst_ip="3.1.2.3", dst_name=name, observed_at_ns=NOW_NS)
        store.append([event])
    with setting(tmp_path, store, PINNED, RECORDS | {names[1]: ("servfail",)}) as here:
        assert here.publisher.resolve_and_publish()
        prefixes = here.prefixes()
    assert prefixes is not None
    assert "5.255.123.12/32" in prefixes
    assert "3.1.2.3/32" not in prefixes


def test_a_sanction_that_expires_is_followed_without_a_new_file(tmp_path: Path, store: Store) -> None:
    expiring = SANCTION + "expires = 2026-11-18\n"
    with setting(tmp_path, store, expiring, RECORDS) as here:
        here.publisher._catch_up()
        assert here.publisher.resolve_and_publish()
        before = here.publisher.snapshot(NAMES)
        here.now_ns += DAY_NS
        here.publisher._catch_up()
        after = here.publisher.snapshot(NAMES)
        assert before is not None
        assert after is not None
        assert after.serial == before.serial + 1
        assert here.publisher.resolve_and_publish()
        prefixes = here.prefixes()
        assert prefixes is not None
        assert "3.1.2.3/32" in prefixes
        here.now_ns -= DAY_NS  # the clock was wrong: what is sanctioned again is on no list at once
        here.publisher._catch_up()
        assert here.prefixes() is None


def test_an_address_that_a_sanctioned_agent_is_seen_at_leaves_the_list_in_force(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, PINNED, RECORDS) as here:
        assert here.publisher.resolve_and_publish()
        seen = make_event(
            1, verdict=Outcome.SANCTIONED, dst_ip="3.1.2.3", dst_name="tunnels.example.com", observed_at_ns=NOW_NS
        )
        store.append([seen])
        here.publisher._catch_up()
        assert here.prefixes() is None


def test_a_new_sanctioned_name_is_resolved_before_any_address_is_served(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, "", RECORDS) as here:
        assert here.publisher.resolve_and_publish()
        here.change(PINNED.replace("3.9.0.0/16", "192.0.2.0/24").replace('"ngrok"', '"serveo"'))
        assert here.prefixes() is None


def test_lists_change_only_for_who_holds_the_lock(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_held = []

    def noting(change: Callable[..., None]) -> Callable[..., None]:
        def noted(lists: PublishedLists, *arguments: object) -> None:
            was_held.append(lists._changing.locked())
            change(lists, *arguments)

        return noted

    for name in ("keep_only", "withdraw_all", "withdraw"):
        monkeypatch.setattr(PublishedLists, name, noting(getattr(PublishedLists, name)))
    with setting(tmp_path, store, "", RECORDS) as here:
        here.publisher._catch_up()
        assert here.publisher.resolve_and_publish()
        here.change(SANCTION)
        assert len(was_held) == 3
        with sqlite3.connect(tmp_path / "molecatcher.db") as damage:
            damage.execute("DROP TABLE snapshots")
        here.change("")
    assert len(was_held) == 5
    assert all(was_held)


def test_reloading_the_same_policy_does_not_discard_a_resolution(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, "", RECORDS) as here:
        rules = here.rules
        served = chain((rules,), repeat(Ruleset(CATALOGUE, policy(""))))
        here.publisher._ruleset = lambda: next(served)
        assert here.publisher.resolve_and_publish()
        assert here.prefixes()


def test_a_list_built_under_the_rules_before_is_not_published(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, "", RECORDS) as here:
        served = chain((here.rules,), repeat(Ruleset(CATALOGUE, policy(SANCTION))))
        here.publisher._ruleset = lambda: next(served)
        assert here.publisher.resolve_and_publish()
        assert here.prefixes() is None


def test_a_stored_list_that_cannot_be_read_is_built_anew(tmp_path: Path, store: Store) -> None:
    store.publish_snapshot(SnapshotRow(NAMES, 1, NOW_NS, "damaged", b"\0"))
    with setting(tmp_path, store, "", {}) as here:
        here.publisher._restore()
        here.publisher._catch_up()
    snapshot = here.publisher.snapshot(NAMES)
    assert snapshot is not None
    assert snapshot.serial > 1


def test_a_lost_database_takes_neither_lists_nor_numbers_with_it(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, "", RECORDS) as here:
        here.publisher.publish_names()
        here.change(SANCTION)
        assert here.publisher.resolve_and_publish()
        names, addresses = map(here.publisher.snapshot, (NAMES, ADDRESSES))
        assert names is not None
        with open_store(tmp_path / "new.db") as empty:
            again = Setting(empty, "127.0.0.1#9", SANCTION, tmp_path / "lists")
            again.publisher._restore()
            assert again.publisher.snapshot(NAMES) == names
            assert addresses is not None
            again.publisher.publish_names()
            assert again.publisher.snapshot(NAMES) == names
            again.change("")
            renewed = again.publisher.snapshot(NAMES)
            assert renewed is not None
            assert renewed.serial == names.serial + 1


def test_a_list_that_shrinks_too_much_is_held_until_it_is_confirmed(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, "", RECORDS) as here:
        here.publisher.publish_names()
        before = here.publisher.snapshot(NAMES)
        here.change(SANCTION + '[services]\nreverse-tunnel = "monitor"\n')
        held, narrowed = here.publisher.held(NAMES), here.publisher.snapshot(NAMES)
        assert held is not None
        assert [refusal.guard for refusal in held.refusals] == [Guard.SHRINK]
        assert before is not None
        assert narrowed is not None
        assert isinstance(narrowed.body, NameList)
        assert narrowed.serial == before.serial + 1, "what is sanctioned leaves the old list at once"
        assert "tunnels.example.com" in {entry.name for entry in narrowed.body.allowed}
        here.publisher.publish_names()
        assert here.publisher.snapshot(NAMES) == narrowed
        assert not here.publisher.confirm(NAMES, "another")
        assert here.publisher.confirm(NAMES, held.digest)
        here.publisher.publish_names()
        after = here.publisher.snapshot(NAMES)
        assert after is not None
        assert after.digest == held.digest
        assert here.publisher.held(NAMES) is None


def test_an_entry_says_since_when_it_is_listed(tmp_path: Path, store: Store) -> None:
    with setting(tmp_path, store, "", RECORDS) as here:
        here.publisher.publish_names()
        here.now_ns += DAY_NS
        here.change('[services]\nlocaltunnel = "monitor"\n')
        here.now_ns += DAY_NS
        here.change("")
        snapshot = here.publisher.snapshot(NAMES)
        assert snapshot is not None
        assert isinstance(snapshot.body, NameList)
        since = {entry.service: entry.first_listed_ns for entry in snapshot.body.wide}
    assert since["ngrok"] == NOW_NS
    assert since["localtunnel"] == NOW_NS + 2 * DAY_NS
