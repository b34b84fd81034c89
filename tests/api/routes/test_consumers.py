"""Which firewall has which list, and which is behind."""

import httpx
import pytest
from installation import NOW_NS, SECOND_NS, Installation, add_token, names_of, snapshot_of
from prometheus_client.parser import text_string_to_metric_families

from api.feeds.pull_log import Consumer, Pulled, PullLog
from api.schemas.lists import ConsumerPage
from db.lists.values import SnapshotRow
from rules.lists.blocklist import ListName
from rules.lists.encoding import encode

DOMAINS = "/feeds/unsanctioned-domains.txt"
CONSUMERS = "/v1/lists/unsanctioned-domains/consumers"
MINUTE_NS = 60 * SECOND_NS


def publish(installation: Installation, words: str, at_ns: int) -> int:
    snapshot = snapshot_of(names_of(words))
    row = SnapshotRow(snapshot.list_name, 1, at_ns, snapshot.digest, encode(snapshot.body))
    serial = installation.store.publish_snapshot(row).serial
    installation.publish(snapshot.body, serial, at_ns)
    return serial


def items(client: httpx.Client, path: str = CONSUMERS, **query: object) -> list[dict[str, object]]:
    found = client.get(path, params={key: str(value).lower() for key, value in query.items()}).json()
    ConsumerPage.model_validate(found)
    return list(found["items"])


def test_a_pull_is_noted_with_serial_and_status(installation: Installation, client: httpx.Client) -> None:
    publish(installation, "a.example", NOW_NS)
    key = {"X-Api-Key": add_token(installation.store, name="paloalto-1"), "User-Agent": "PAN-OS/11"}
    etag = client.get(DOMAINS, headers=key).headers["etag"]
    installation.now_ns += MINUTE_NS
    assert client.get(DOMAINS, headers=key | {"If-None-Match": etag}).status_code == 304
    client.head(DOMAINS, headers=key)
    client.get(f"{DOMAINS}.md5", headers=key)
    (row,) = items(client)
    assert (row["consumer"], row["address"], row["user_agent"]) == ("paloalto-1", "127.0.0.1", "PAN-OS/11")
    assert (row["format"], row["profile"], row["serial"], row["last_status"]) == ("txt", "agents-only", 1, 304)
    assert (row["pulls"], row["failures"], row["is_behind"]) == (2, 0, False)
    assert row["last_change"] == row["first_pull"] != row["last_pull"]


def test_who_still_has_the_older_list_after_half_an_hour_is_behind(
    installation: Installation, client: httpx.Client
) -> None:
    publish(installation, "a.example", NOW_NS)
    for agent in ("late", "prompt"):
        client.get(DOMAINS, headers={"User-Agent": agent})
    serial = publish(installation, "a.example b.example", NOW_NS + MINUTE_NS)
    installation.now_ns += 2 * MINUTE_NS
    client.get(DOMAINS, headers={"User-Agent": "prompt"})
    assert [row["is_behind"] for row in items(client)] == [False, False], "it may not have asked yet"
    publish(installation, "c.example", installation.now_ns + 28 * MINUTE_NS)
    installation.now_ns = NOW_NS + 32 * MINUTE_NS
    found = {row["user_agent"]: row for row in items(client)}
    assert found["late"]["is_behind"]
    assert (found["late"]["serial"], found["late"]["serial_in_force"]) == (1, serial + 1)
    assert not found["prompt"]["is_behind"], "what it has was superseded two minutes ago"
    assert [row["user_agent"] for row in items(client, behind=True)] == ["late"]
    assert "late" in client.get("/").text
    assert "still has serial 1 (txt)" in client.get("/").text
    metrics = {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }
    key = ("unsanctioned-domains", "agents-only")
    assert metrics["molecatcher_feed_consumers", key] == 2
    assert metrics["molecatcher_feed_consumers_behind", key] == 1


def test_a_pull_that_was_not_served_leaves_the_serial(installation: Installation, client: httpx.Client) -> None:
    publish(installation, "a.example", NOW_NS)
    client.get(DOMAINS)
    installation.snapshots.clear()
    assert client.get(DOMAINS).status_code == 503
    (row,) = items(client)
    assert (row["serial"], row["last_status"], row["pulls"], row["failures"]) == (1, 503, 1, 1)


def test_every_reader_is_noted(installation: Installation, client: httpx.Client) -> None:
    installation.publish_both()
    assert client.get("/v1/decisions/stream?startup=true", headers={"X-Api-Key": "bouncer"}).status_code == 200
    ids = {row["title"]: row["id"] for row in client.get("/taxii2/lists/collections/").json()["collections"]}
    client.get(f"/taxii2/lists/collections/{ids['unsanctioned-domains']}/objects/")
    for event in client.get("/misp/manifest.json").json():
        client.get(f"/misp/{event}.json")
    found = {(row["list_name"], row["format"]) for row in items(client, "/v1/consumers")}
    assert found == {
        ("unsanctioned-addresses", "decisions"),
        ("unsanctioned-domains", "taxii"),
        ("unsanctioned-domains", "misp"),
        ("unsanctioned-addresses", "misp"),
    }


WHO = Consumer("", "", "192.0.2.1", "curl/8")
WHAT = Pulled(ListName.UNSANCTIONED_DOMAINS, "agents-only", "txt")


def test_the_log_survives_a_restart_and_adds_up(installation: Installation) -> None:
    def now_ns() -> int:
        return installation.now_ns

    first = PullLog(installation.store, now_ns)
    first.note(WHO, WHAT, 3, 200)
    first.note(WHO, WHAT, None, 503)
    first.flush()
    installation.now_ns += SECOND_NS
    again = PullLog(installation.store, now_ns)
    again.note(WHO, WHAT, 3, 304)
    (row,) = again.records()
    assert (row.serial, row.status, row.pulls, row.failures) == (3, 304, 2, 1)
    assert (row.first_pull_ns, row.changed_ns, row.last_pull_ns) == (NOW_NS, NOW_NS, installation.now_ns)
    again.flush()
    assert installation.store.pulls(9) == [row]


def test_who_has_not_pulled_for_long_is_forgotten(installation: Installation) -> None:
    log = PullLog(installation.store, lambda: installation.now_ns)
    log.note(WHO, WHAT, 3, 200)
    log.flush()
    installation.now_ns += 91 * 86_400 * SECOND_NS
    log.note(Consumer("", "", "192.0.2.2", ""), WHAT, 3, 200)
    log.flush()
    assert [row.address for row in installation.store.pulls(9)] == ["192.0.2.2"]


def test_the_log_is_bounded(installation: Installation) -> None:
    log = PullLog(installation.store, lambda: installation.now_ns, max_records=3)
    for number in range(5):
        log.note(Consumer("", "", f"192.0.2.{number}", ""), WHAT, 1, 200)
    assert [row.address for row in log.records()] == [f"192.0.2.{number}" for number in (4, 3, 2)]
    assert log.dropped == 2


def test_while_the_database_is_away_pulls_are_served_and_wait(installation: Installation, client: httpx.Client) -> None:
    installation.publish_both()
    installation.break_database()
    assert client.get(DOMAINS).status_code == 200
    assert client.get(CONSUMERS).status_code == 503


@pytest.mark.parametrize("query", ["limit=0", "limit=100000", "offset=-1", "behind=perhaps", "x=1"])
def test_a_parameter_that_is_not_understood_is_refused(client: httpx.Client, query: str) -> None:
    assert client.get(f"/v1/consumers?{query}").status_code == 422


def test_consumers_are_paged(installation: Installation, client: httpx.Client) -> None:
    installation.publish_both()
    for number in range(5):
        client.get(DOMAINS, headers={"User-Agent": f"agent-{number}"})
    first = client.get(f"{CONSUMERS}?limit=2").json()
    assert (len(first["items"]), first["total"], first["next"]) == (2, 5, 2)
    last = client.get(f"{CONSUMERS}?limit=2&offset=4").json()
    assert [row["user_agent"] for row in last["items"]] == ["agent-0"]
    assert last["next"] is None
