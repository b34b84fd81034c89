"""Block lists as CrowdSec decisions."""

import httpx
import pytest
from installation import NOW_NS, SECOND_NS, Installation, add_token, names_of, snapshot_of

from api.feeds import decisions
from api.feeds.decisions import DecisionStream, Wanted
from db.access.values import TokenScope
from db.lists.values import SnapshotRow
from rules.lists.blocklist import AddressEntry, AddressList, Snapshot
from rules.lists.encoding import encode

STREAM = "/v1/decisions/stream"
KEY = {"X-Api-Key": "secret"}


def addresses(*prefixes: str) -> AddressList:
    return AddressList(tuple(AddressEntry(prefix, "ngrok") for prefix in prefixes))


def put(installation: Installation, *prefixes: str) -> None:
    """Publish a list of addresses as the program does: stored, then in force."""
    snapshot = snapshot_of(addresses(*prefixes))
    row = SnapshotRow(snapshot.list_name, 1, NOW_NS, snapshot.digest, encode(snapshot.body))
    installation.publish(snapshot.body, installation.store.publish_snapshot(row).serial)


def pull(client: httpx.Client, **query: str) -> tuple[set[str], set[str]]:
    answer = client.get(STREAM, params=query, headers=KEY)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert set(found) == {"new", "deleted"}
    assert all(found[name] is None or found[name] for name in found), "none is null, as bouncers know it"
    new, deleted = ({row["value"] for row in found[name] or ()} for name in ("new", "deleted"))
    return new, deleted


def test_everything_and_then_what_changed(installation: Installation, client: httpx.Client) -> None:
    put(installation, "198.51.100.7/32", "2001:db8::7/128")
    assert pull(client, startup="true") == ({"198.51.100.7", "2001:db8::7"}, set())
    assert pull(client) == (set(), set())
    put(installation, "198.51.100.8/32", "2001:db8::7/128")
    for _ in range(2):  # an answer may be lost
        assert pull(client) == ({"198.51.100.8"}, {"198.51.100.7"})
    assert pull(client) == (set(), set())
    assert pull(client, startup="true") == ({"198.51.100.8", "2001:db8::7"}, set())


def test_a_decision_has_what_bouncers_read(installation: Installation, client: httpx.Client) -> None:
    put(installation, "198.51.100.7/32")
    (row,) = client.get(STREAM, params={"startup": "true"}, headers=KEY).json()["new"]
    assert row.pop("id") > 0
    assert row == {
        "origin": "molecatcher",
        "type": "ban",
        "scope": "Ip",
        "value": "198.51.100.7",
        "duration": "168h0m0s",
        "scenario": "molecatcher/ngrok",
    }


def test_a_key_that_nobody_knows_is_told_every_deletion_that_is(
    installation: Installation, client: httpx.Client
) -> None:
    put(installation, "198.51.100.7/32", "198.51.100.8/32")
    put(installation, "198.51.100.8/32", "198.51.100.9/32")
    assert pull(client) == ({"198.51.100.8", "198.51.100.9"}, {"198.51.100.7"})


def test_names_are_sent_only_when_they_are_asked_for(installation: Installation, client: httpx.Client) -> None:
    put(installation, "198.51.100.7/32")
    installation.publish(names_of("ngrok-agent.com =tunnel.ngrok.com"))
    assert pull(client, startup="true")[0] == {"198.51.100.7"}
    wanted = pull(client, startup="true", scopes="domain")[0]
    assert wanted == {"ngrok-agent.com", "*.ngrok-agent.com", "tunnel.ngrok.com"}
    assert pull(client, startup="true", scenarios_containing="ngrok", scopes="ip,domain")[0] == wanted | {
        "198.51.100.7"
    }
    assert pull(client, startup="true", scenarios_not_containing="ngrok") == (set(), set())
    assert pull(client, startup="true", origins="crowdsec") == (set(), set())


def test_small_ranges_are_expanded_and_others_stay(installation: Installation, client: httpx.Client) -> None:
    put(installation, "198.51.100.4/31", "203.0.112.0/22")
    assert pull(client, startup="true")[0] == {"198.51.100.4", "198.51.100.5", "203.0.112.0/22"}
    assert client.get("/v1/decisions", params={"ip": "203.0.113.77"}, headers=KEY).json()[0]["scope"] == "Range"
    assert client.get("/v1/decisions", params={"ip": "192.0.2.1"}, headers=KEY).json() is None
    assert client.get("/v1/decisions", params={"ip": "x"}, headers=KEY).status_code == 422


@pytest.mark.parametrize("path", [STREAM, "/v1/decisions"])
def test_without_a_key_the_words_of_the_original_refuse(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()) == (403, {"message": "access forbidden"})


def test_before_the_list_is_built_bouncers_keep_what_they_have(client: httpx.Client) -> None:
    answer = client.get(STREAM, params={"startup": "true"}, headers=KEY)
    assert answer.status_code == 503
    assert client.post("/v1/usage-metrics", headers=KEY, json={"remediation_components": []}).status_code == 201


def test_keys_are_bounded_and_decisions_renewed() -> None:
    now_s = 0.0
    stream = DecisionStream(lambda _: (), lambda: now_s)
    state: tuple[Snapshot, ...] = (snapshot_of(addresses("198.51.100.7/32")),)
    for number in range(decisions.MAX_KEYS + 1):
        assert stream.pull(str(number), Wanted(), state, startup=True)[0]
    assert stream.pull("0", Wanted(), state, startup=False)[0], "forgotten, so told everything again"
    assert stream.pull("5", Wanted(), state, startup=False) == ([], [])
    now_s = decisions.RENEW_S
    assert stream.pull("5", Wanted(), state, startup=False)[0], "renewed before it expires"


def state_of(*prefixes: str) -> tuple[Snapshot, ...]:
    return (snapshot_of(addresses(*prefixes)),)


def values(rows: list[decisions.Decision]) -> set[object]:
    return {row["value"] for row in rows}


def test_a_key_whose_state_is_kept_no_more_is_told_everything() -> None:
    states = [state_of(f"198.51.100.{number}/32", "203.0.113.1/32") for number in range(decisions.MAX_BODIES + 2)]
    stream = DecisionStream(lambda _: [state[0].body for state in states])
    stream.pull("slow", Wanted(), states[0], startup=True)
    for state in states[1:]:
        stream.pull("quick", Wanted(), state, startup=False)
    added, gone = stream.pull("slow", Wanted(), states[-1], startup=False)
    assert values(added) == {f"198.51.100.{decisions.MAX_BODIES + 1}", "203.0.113.1"}
    assert "198.51.100.0" in values(gone)


def test_a_pull_that_has_no_answer_told_nothing() -> None:
    kept: list[Snapshot] = []
    stream = DecisionStream(lambda _: [kept[0].body])  # fails while there is none, as a database that is away
    state = state_of("198.51.100.7/32")
    with pytest.raises(IndexError):
        stream.pull("one", Wanted(), state, startup=False)
    kept += state_of("198.51.100.6/32")
    added, gone = stream.pull("one", Wanted(), state, startup=False)
    assert (values(added), values(gone)) == ({"198.51.100.7"}, {"198.51.100.6"})


def test_two_firewalls_with_one_key_are_each_told_what_changed(
    installation: Installation, client: httpx.Client
) -> None:
    put(installation, "198.51.100.7/32")
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(base_url=client.base_url, transport=transport) as other:
        both = (client, other)
        for each in both:
            assert pull(each, startup="true") == ({"198.51.100.7"}, set())
        put(installation, "198.51.100.8/32")
        for each in (*both, *both):
            assert pull(each) == ({"198.51.100.8"}, {"198.51.100.7"})


def test_every_error_has_the_message_that_bouncers_cannot_do_without(
    installation: Installation, client: httpx.Client
) -> None:
    answers = [
        client.get(STREAM, headers=KEY),
        client.get(STREAM, headers=KEY | {"Host": "elsewhere.example"}),
        client.get(STREAM, headers=KEY, params={"startup": "x" * 99}),
        client.post(STREAM, headers=KEY),
        client.get(f"{STREAM}/more", headers=KEY),
    ]
    put(installation, "198.51.100.7/32")
    installation.break_database()
    answers.append(client.get(STREAM, headers=KEY))
    assert [answer.status_code for answer in answers] == [503, 421, 422, 405, 404, 503]
    assert all(answer.json()["message"] for answer in answers)


def test_a_token_must_be_good_and_for_decisions(installation: Installation, client: httpx.Client) -> None:
    put(installation, "198.51.100.7/32")
    good = add_token(installation.store, scopes=(TokenScope.DECISIONS_READ,))
    others = (add_token(installation.store), good[:-1] + "x", f"mc_nobody_{'a' * 43}", "mc_")
    installation.now_ns += 2 * SECOND_NS
    statuses = [client.get(STREAM, headers={"X-Api-Key": key}).status_code for key in (good, *others)]
    assert statuses == [200, 403, 403, 403, 403]
    answers = {client.get(STREAM, headers={"X-Api-Key": key}).text for key in others}
    assert answers == {'{"message":"access forbidden"}'}
