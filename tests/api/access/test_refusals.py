"""Refusals fill no audit log: the first of a caller and an action is an entry, those of the minute after it are one."""

import sqlite3

import httpx
import pytest
from access_server import serving
from installation import SECOND_NS, Installation, add_token
from people import sign_in

from api.access.config import AccessConfig
from api.access.refusals import Refusals
from db.access.audit import chained
from db.access.values import AccessRole, ActorKind, AuditEntry, AuditFilter, AuditOutcome, TokenScope
from db.errors import DbError

BODY = {"name": "siem", "scopes": ["events:read"]}


def holder(installation: Installation, *scopes: TokenScope) -> dict[str, str]:
    return {"X-Api-Key": add_token(installation.store, scopes=scopes)}


def noted(installation: Installation) -> list[AuditEntry]:
    return installation.store.audit(AuditFilter(), 99)[::-1]


def test_a_token_that_asks_for_what_it_may_not_is_noted_once_a_minute(
    installation: Installation, closed: httpx.Client
) -> None:
    reader, other = (holder(installation, TokenScope.EVENTS_READ) for _ in range(2))
    admin = holder(installation, TokenScope.ADMIN)
    for number in range(40):
        assert closed.delete(f"/v1/blocked/{number}", headers=reader).status_code == 403
    assert closed.post("/v1/tokens", json=BODY, headers=admin).status_code == 201
    assert closed.post("/v1/tokens", json=BODY, headers=other).status_code == 403
    assert [(row.action, row.target) for row in noted(installation)][::2] == [
        ("access.refused", "/v1/blocked/0"),
        ("access.refused", "/v1/tokens"),
    ]
    first_ns = noted(installation)[0].at_ns
    installation.now_ns += 61 * SECOND_NS
    assert closed.post("/v1/tokens", json=BODY, headers=reader).status_code == 403
    *_, last = rows = noted(installation)
    assert (len(rows), last.target, last.outcome) == (4, "/v1/tokens", AuditOutcome.REFUSED)
    assert last.detail.startswith("40 times since 20")
    assert last.at_ns == first_ns + 61 * SECOND_NS
    chain = ""
    for row in rows:
        assert row.chain == chained(chain, row)
        chain = row.chain


@pytest.mark.parametrize(
    ("age_s", "changed", "status", "detail"),
    [
        (0, {"Origin": "https://evil.example"}, 403, "The request may come from another site's page"),
        (0, {"Sec-Fetch-Site": "cross-site"}, 403, "The request may come from another site's page"),
        (0, {"X-CSRF-Token": "wrong"}, 403, "The request may come from another site's page"),
        (86_400, {}, 401, "A fresh sign-in is needed for this"),
    ],
    ids=["another origin", "another site", "no word of the session", "an old sign-in"],
)
def test_a_change_that_a_person_may_not_have_meant_is_noted(
    installation: Installation, closed: httpx.Client, age_s: int, changed: dict[str, str], *, status: int, detail: str
) -> None:
    person = sign_in(installation, AccessRole.ADMIN, age_s=age_s)
    assert closed.get("/v1/tokens", headers=person | changed).status_code == 200
    for _ in range(3):
        assert closed.post("/v1/tokens", json=BODY, headers=person | changed).status_code == status
    (row,) = noted(installation)
    assert (row.actor_kind, row.action, row.target) == (ActorKind.PERSON, "access.refused", "/v1/tokens")
    assert (row.outcome, row.detail) == (AuditOutcome.REFUSED, detail)
    installation.now_ns += 61 * SECOND_NS
    assert closed.post("/v1/tokens", json=BODY, headers=person | changed).status_code == status
    assert noted(installation)[-1].detail.startswith(f"{detail}; 3 times since ")
    assert installation.store.tokens() == []


SENSITIVE = (
    *("/v1/tokens", "/v1/tokens/none", "/v1/audit", "/v1/audit/export", "/v1/sessions", "/v1/webhook-sources"),
    *("/v1/outputs", "/v1/outputs/none/dead-letters", "/v1/events/none/evidence.pcap", "/audit", "/tokens", "/outputs"),
)


@pytest.mark.parametrize("path", SENSITIVE)
def test_a_look_at_what_few_may_see_is_noted_when_it_is_refused(
    path: str, installation: Installation, closed: httpx.Client
) -> None:
    reader = holder(installation, TokenScope.EVENTS_READ)
    for _ in range(3):
        assert closed.get(path, headers=reader).status_code == 403
    (row,) = noted(installation)
    assert (row.actor_kind, row.action, row.target) == (ActorKind.TOKEN, "access.refused", path)
    assert (row.outcome, row.detail) == (AuditOutcome.REFUSED, "a look")
    viewer = sign_in(installation, AccessRole.VIEWER)
    assert closed.get(path, headers=viewer).status_code == 403
    assert noted(installation)[-1].actor_kind is ActorKind.PERSON


def test_a_look_at_what_all_roles_may_see_is_not_noted_when_a_token_is_for_something_else(
    installation: Installation, closed: httpx.Client
) -> None:
    bouncer = holder(installation, TokenScope.DECISIONS_READ)
    for path in ("/v1/events", "/v1/policy", "/metrics", "/feeds/unsanctioned-domains.txt", "/"):
        assert closed.get(path, headers=bouncer).status_code == 403
    assert noted(installation) == []


def test_packets_that_are_not_shown_to_who_sees_no_names_are_noted(installation: Installation) -> None:
    reader = holder(installation, TokenScope.EVIDENCE_READ)
    with serving(installation, AccessConfig(require=True)) as client:
        answer = client.get("/v1/events/none/evidence.pcap?names=false", headers=reader)
    assert answer.status_code == 403
    (row,) = noted(installation)
    assert (row.action, row.target, row.outcome) == ("evidence.read", "none", AuditOutcome.REFUSED)


def test_what_was_counted_is_noted_when_the_server_ends(installation: Installation) -> None:
    reader = holder(installation, TokenScope.EVENTS_READ)
    with serving(installation, AccessConfig(require=True)) as client:
        for _ in range(5):
            assert client.post("/v1/tokens", json=BODY, headers=reader).status_code == 403
        assert len(noted(installation)) == 1
    assert [row.detail[:8] for row in noted(installation)] == ["", "4 times "]


def test_what_is_asked_wrongly_again_and_again_is_summed_and_what_is_done_is_not(
    installation: Installation, client: httpx.Client
) -> None:
    for _ in range(3):
        assert client.post("/v1/tokens", json={}).status_code == 422
        assert client.post("/v1/tokens", json=BODY).status_code == 201
        assert client.post("/v1/outputs/none/try").status_code == 404
    counts = {(row.action, row.outcome): 0 for row in noted(installation)}
    for row in noted(installation):
        counts[row.action, row.outcome] += 1
    assert counts == {
        ("token.create", AuditOutcome.REFUSED): 1,
        ("token.create", AuditOutcome.DONE): 3,
        ("output.try", AuditOutcome.DONE): 3,  # an entry says that it happens
        ("output.try", AuditOutcome.REFUSED): 3,  # so one says of each that it did not
    }


def refusal(installation: Installation, caller: str = "a") -> AuditEntry:
    return AuditEntry(
        at_ns=installation.now_ns,
        actor_kind=ActorKind.TOKEN,
        actor_id=caller,
        action="access.refused",
        outcome=AuditOutcome.REFUSED,
        detail="answered 422",
    )


def test_a_sum_is_written_when_nobody_asks_again(installation: Installation) -> None:
    refusals = Refusals(installation.store, lambda: installation.now_ns)
    for _ in range(3):
        refusals.note(refusal(installation))
    refusals.flush()
    assert len(noted(installation)) == 1, "its minute is not over"
    installation.now_ns += 60 * SECOND_NS
    for _ in range(2):
        refusals.flush()
    details = [row.detail for row in noted(installation)]
    begin = "2026-11-23T19:00:00.000000Z"
    assert details == ["answered 422", f"answered 422; 2 times since {begin}, the last at {begin}"]
    assert noted(installation)[1].at_ns == installation.now_ns, "or whoever reads the newest would miss it"


def test_none_is_lost_while_the_database_is_away(installation: Installation) -> None:
    refusals = Refusals(installation.store, lambda: installation.now_ns)
    with sqlite3.connect(installation.path) as damage:
        damage.execute("ALTER TABLE audit RENAME TO lost_audit")
    for _ in range(2):
        with pytest.raises(DbError):
            refusals.note(refusal(installation))
    refusals.flush()
    with sqlite3.connect(installation.path) as repair:
        repair.execute("ALTER TABLE lost_audit RENAME TO audit")
    refusals.close()
    assert [row.detail for row in noted(installation)] == [
        "answered 422; 2 times, the last at 2026-11-23T19:00:00.000000Z"
    ]


def test_they_are_bounded_and_none_is_lost_then(installation: Installation) -> None:
    refusals = Refusals(installation.store, lambda: installation.now_ns, max_sums=2)
    for caller in ("a", "a", "a", "b", "c"):
        refusals.note(refusal(installation, caller))
    assert [(row.actor_id, "2 times" in row.detail) for row in noted(installation)] == [
        ("a", False),
        ("b", False),
        ("a", True),
        ("c", False),
    ]
