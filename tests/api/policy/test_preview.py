"""A change of the policy is looked at before it is made: what would become of lists and findings, and what is wrong."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from access_server import serving
from built_lists import build_lists
from installation import NOW_NS, Installation, add_token
from people import sign_in

from api.access.config import AccessConfig
from api.schemas.workflow import PreviewDocument
from db.access.values import AccessRole, AuditFilter, TokenScope
from rules.lists.building import build_names
from rules.policy.reader import parse_policy
from rules.preview.reconsider import judge_again
from rules.values.event import EventReason
from rules.values.verdict import Outcome, Severity

WHO = {"owner": "platform@example.com", "reason": "team tenant"}
INGRESS = {"domain": "tunnels.partner.example", "service": "ngrok"} | WHO
EXCEPTION = {"service": "ngrok", "sources": ["10.20.0.0/16"]} | WHO


@pytest.fixture
def lists(installation: Installation, tmp_path: Path) -> None:
    build_lists(installation, tmp_path / "lists")


def preview(client: httpx.Client, **change: Any) -> dict[str, Any]:
    answer = client.post("/v1/policy/preview", json=change)
    assert answer.status_code == 200, answer.text
    PreviewDocument.model_validate(answer.json())
    return dict(answer.json())


def names_effect(found: dict[str, Any]) -> dict[str, Any]:
    return next(row for row in found["lists"] if row["list"] == "unsanctioned-domains")


@pytest.mark.usefixtures("lists")
def test_an_entry_shows_on_the_lists_and_nothing_is_kept(installation: Installation, client: httpx.Client) -> None:
    found = names_effect(preview(client, blocked=[{"entry": "tunnel.colleague.example"} | WHO]))
    assert (found["added"], found["removed"], found["profile"]) == (1, 0, "agents-only")
    assert found["added_examples"] == ["*.tunnel.colleague.example"]
    assert found["refusals"] == []
    assert client.get("/v1/blocked").json()["items"] == []
    assert installation.store.policy.overlay().blocked == ()


@pytest.mark.usefixtures("lists")
def test_a_decision_takes_a_service_off_and_the_guard_says_if_too_much_goes(client: httpx.Client) -> None:
    found = names_effect(preview(client, decisions={"ngrok": "monitor"}))
    assert found["added"] == 0
    assert any("ngrok" in text for text in found["removed_examples"])
    everything = names_effect(preview(client, decisions={"reverse-tunnel": "monitor", "ssh-tunnel": "monitor"}))
    assert {row["guard"] for row in everything["refusals"]} & {"shrink", "empty"}


@pytest.mark.usefixtures("lists")
def test_what_is_never_blocked_leaves_the_lists(installation: Installation, client: httpx.Client) -> None:
    entry = {"entry": "bore.pub"} | WHO
    assert "*.bore.pub" in names_effect(preview(client, never_blocked=[entry]))["removed_examples"]
    made = client.post("/v1/never-blocked", json=entry).json()
    assert (made["origin"], made["is_in_force"]) == ("database", True)
    rules = installation.ruleset()
    built = build_names(rules.catalogue, rules.policy, NOW_NS)
    assert "bore.pub" not in {row.name for row in built.blocked}
    assert "bore.pub" in {row.name for row in built.allowed}
    assert "*.bore.pub" in names_effect(preview(client, removed=[made["entry_id"]]))["added_examples"]
    cautions = preview(client, blocked=[entry])["cautions"]
    assert any("never blocked" in text for text in cautions)
    assert client.delete(f"/v1/blocked/{made['entry_id']}").status_code == 404
    assert client.delete(f"/v1/never-blocked/{made['entry_id']}").status_code == 204


@pytest.mark.parametrize(
    ("change", "status", "wrong"),
    [
        ({"sanctioned": [INGRESS | {"domain": "com"}]}, 422, ("sanctioned.0.domain", "public suffix")),
        (
            {"sanctioned": [INGRESS | {"domain": "ngrok.com"}]},
            422,
            ("sanctioned.0.domain", "covers the catalogue name"),
        ),
        (
            {"sanctioned": [INGRESS, INGRESS | {"service": "ngork"}]},
            422,
            ("sanctioned.1.service", "did you mean ngrok"),
        ),
        ({"sanctioned": [INGRESS | {"addresses": ["10.0.0.1/8"]}]}, 422, ("sanctioned.0.addresses", "host bits")),
        ({"sanctioned": [INGRESS | {"domain": "file.example"}]}, 409, ("sanctioned.0.domain", "policy file")),
        ({"exceptions": [EXCEPTION | {"sources": []}]}, 422, ("exceptions.0.sources", "is empty")),
        ({"blocked": [{"entry": "192.168.0.0/16"} | WHO]}, 422, ("blocked.0.entry", "private")),
        ({"blocked": [{"entry": "a.file.example"} | WHO]}, 422, ("blocked.0.entry", "is sanctioned")),
        ({"never_blocked": [{"entry": "co.uk"} | WHO]}, 422, ("never_blocked.0.entry", "public suffix")),
        ({"decisions": {"devtunnels": "ignore"}}, 409, ("decisions.devtunnels", "policy file")),
        ({"decisions": {"nothing": None}}, 422, ("decisions.nothing", "No service")),
        ({"sanctioned": [INGRESS | {"owner": " "}]}, 422, ("sanctioned.0.owner", "at least 1")),
    ],
)
def test_what_cannot_be_kept_names_its_field(
    installation: Installation, client: httpx.Client, change: dict[str, Any], status: int, wrong: tuple[str, str]
) -> None:
    text = '[[sanctioned]]\ndomain = "file.example"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'
    text += '[services]\ndevtunnels = "block"\n'
    installation.file_policy = parse_policy(text, "policy.toml", installation.ruleset().catalogue, NOW_NS)
    answer = client.post("/v1/policy/preview", json=change)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    (said,) = answer.json()["errors"]
    assert said["parameter"] == wrong[0]
    assert wrong[1] in said["detail"]


def test_findings_would_be_judged_otherwise(installation: Installation, client: httpx.Client) -> None:
    reasons = (EventReason("heartbeat", "tunnels.partner.example", "it beats as agents of ngrok do"),)
    name = {"dst_name": "tunnels.partner.example", "tls_sni": "tunnels.partner.example"}
    installation.add(verdict=Outcome.SUSPICIOUS, reasons=reasons, src_ip="10.20.0.9", **name)
    installation.add()
    found = preview(client, sanctioned=[INGRESS])["findings"]
    assert (found["looked_at"], found["changed"], found["is_complete"]) == (2, 1, True)
    (row,) = found["items"]
    assert (row["src_ip"], row["verdict_before"], row["verdict_after"]) == ("10.20.0.9", "suspicious", "sanctioned")
    excepted = preview(client, exceptions=[EXCEPTION])["findings"]["items"]
    assert {(row["state_before"], row["state_after"]) for row in excepted} == {("open", "excepted")}
    ignored = preview(client, decisions={"ngrok": "ignore"})["findings"]["items"]
    assert {row["verdict_after"] for row in ignored} == {"unknown"}
    (calmed,) = preview(client, decisions={"ngrok": "monitor"})["findings"]["items"]
    assert (calmed["severity_before"], calmed["severity_after"]) == ("high", "medium")


def test_what_a_sanction_held_back_would_be_a_finding(installation: Installation, client: httpx.Client) -> None:
    made = client.post("/v1/sanctioned", json=INGRESS | {"domain": "Tunnels.Partner.example"}).json()
    assert (made["domain"], made["is_in_force"], made["origin"]) == ("tunnels.partner.example", True, "database")
    name, said = "eu.tunnels.partner.example", EventReason("tls_sni", "eu.tunnels.partner.example", "named")
    installation.add(verdict=Outcome.SANCTIONED, severity=Severity.INFORMATIONAL, dst_name=name, reasons=(said,))
    assert client.post("/v1/sanctioned", json=INGRESS).status_code == 409
    (row,) = preview(client, removed=[made["sanction_id"]])["findings"]["items"]
    assert (row["finding_id"], row["verdict_before"], row["verdict_after"]) == (None, "sanctioned", "unknown")
    assert client.delete(f"/v1/sanctioned/{made['sanction_id']}").status_code == 204
    assert client.get("/v1/sanctioned").json()["items"] == []
    noted = installation.store.audit(AuditFilter(target=made["sanction_id"]), 9)
    assert [row.action for row in noted] == ["sanction.delete", "sanction.create"]


def test_a_sanction_waits_for_another_person(installation: Installation, client: httpx.Client) -> None:
    installation.needs_approval = True
    assert preview(client, sanctioned=[INGRESS])["needs_approval"]
    made = client.post("/v1/sanctioned", json=INGRESS, headers={"X-Test-Caller": "alice"}).json()
    path = f"/v1/sanctioned/{made['sanction_id']}/approve"
    assert (made["status"], installation.ruleset().policy.sanctions) == ("requested", ())
    assert client.post(path, headers={"X-Test-Caller": "alice"}).status_code == 409
    assert client.post(path, headers={"X-Test-Caller": "bob"}).json()["is_in_force"] is True
    assert client.post("/v1/sanctioned/nothing/approve").status_code == 404


def test_cautions(installation: Installation, client: httpx.Client) -> None:
    expired = preview(client, sanctioned=[INGRESS | {"expires": "2020-01-01"}])["cautions"]
    assert [text for text in expired if "expired" in text]
    unpinned = preview(client, sanctioned=[INGRESS])["cautions"]
    assert [text for text in unpinned if "No address of ngrok" in text]
    assert [text for text in unpinned if "for good" in text]
    everybody = preview(client, exceptions=[EXCEPTION | {"sources": ["0.0.0.0/0"]}])["cautions"]
    assert [text for text in everybody if "Everybody" in text]
    assert (
        preview(client, sanctioned=[INGRESS | {"expires": "2027-01-01", "addresses": ["203.0.113.0/24"]}])["cautions"]
        == []
    )
    assert installation.store.policy.sanctions() == []


def test_who_may_not_read_findings_is_shown_none(installation: Installation) -> None:
    with serving(installation, AccessConfig(require=True)) as closed:
        look_as_others(installation, closed)


def look_as_others(installation: Installation, closed: httpx.Client) -> None:
    installation.add()
    writer = {"X-Api-Key": add_token(installation.store, scopes=(TokenScope.POLICY_WRITE,))}
    installation.now_ns += 2 * 10**9
    body = {"decisions": {"ngrok": "ignore"}}
    assert closed.post("/v1/policy/preview", json=body, headers=writer).json()["findings"] is None
    editor = sign_in(installation, AccessRole.POLICY_EDITOR)
    assert closed.post("/v1/policy/preview", json=body, headers=editor).json()["findings"]["changed"] == 1
    analyst = sign_in(installation, AccessRole.ANALYST)
    assert closed.post("/v1/policy/preview", json=body, headers=analyst).status_code == 403
    hidden = closed.post("/v1/policy/preview?names=false", json=body, headers=editor).text
    assert "10.20.0.7" not in hidden


def test_an_event_that_cannot_be_rebuilt_keeps_its_verdict(installation: Installation) -> None:
    event = installation.add(reasons=(EventReason("heartbeat", "x", "y"),), dst_name=None, verdict=Outcome.SUSPICIOUS)
    rules = installation.ruleset()
    before, after = judge_again(event, rules, rules, NOW_NS)
    assert before == after
    assert before.outcome is Outcome.SUSPICIOUS
