"""Profiles of the lists over the API and on the page: looked at first, made, changed, removed; the file's stay."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from access_server import serving
from built_lists import build_lists
from chrome import needs_chrome, severe_log, text_of
from installation import NOW_NS, RULES, Eventually, Installation, add_token
from selenium import webdriver
from selenium.webdriver.remote.webelement import WebElement

from api.access.config import AccessConfig
from api.app import create_app
from api.schemas.lists import ProfileList
from api.schemas.workflow import ProfilePreviewDocument
from rules.lists.building import build_names
from rules.policy.profiles import MAX_PROFILES
from rules.policy.reader import parse_policy
from rules.values.verdict import Role

See = Callable[[str], WebElement]
WHO = {"owner": "netops@example.com", "reason": "small firewalls"}
BRANCH = {"services": ["ngrok"], "roles": ["agent", "visitor"], "max_entries": 500} | WHO
FILE = '[[profile]]\nname = "berlin"\nservices = ["bore"]\n'


@pytest.fixture
def built(installation: Installation, tmp_path: Path) -> Installation:
    installation.file_policy = parse_policy(FILE, "policy.toml", RULES.catalogue, NOW_NS)
    build_lists(installation, tmp_path / "lists")
    return installation


def known(client: httpx.Client) -> dict[str, dict[str, Any]]:
    answer = client.get("/v1/profiles").json()
    ProfileList.model_validate(answer)
    return {row["name"]: row for row in answer["items"]}


def look(client: httpx.Client, name: str, body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    answer = client.post(f"/v1/profiles/{name}/preview", json=body)
    assert answer.status_code == 200, answer.text
    ProfilePreviewDocument.model_validate(answer.json())
    return {row["list"]: row for row in answer.json()["lists"]}


def test_a_profile_is_made_changed_and_removed(built: Installation, client: httpx.Client) -> None:
    made = client.put("/v1/profiles/branch", json=BRANCH)
    assert made.status_code == 200, made.text
    row = known(client)["branch"]
    assert row == made.json()
    assert (row["origin"], row["services"], row["owner"]) == ("database", ["ngrok"], "netops@example.com")
    in_force = next(profile for profile in built.ruleset().policy.profiles if profile.name == "branch")
    assert (in_force.roles, in_force.max_entries) == (frozenset({Role.AGENT, Role.VISITOR}), 500)
    client.put("/v1/profiles/branch", json=BRANCH | {"services": ["bore"]})
    assert known(client)["branch"]["services"] == ["bore"]
    assert client.delete("/v1/profiles/branch").status_code == 204
    assert "branch" not in known(client)
    assert client.delete("/v1/profiles/branch").status_code == 404
    for action in ("update", "delete"):
        assert client.get(f"/v1/audit?action=profile.{action}").json()["items"][0]["target"] == "branch"


def test_how_many_entries_it_would_have_is_what_it_then_has(built: Installation, client: httpx.Client) -> None:
    found = look(client, "branch", BRANCH)["unsanctioned-domains"]
    assert "branch" not in known(client)
    client.put("/v1/profiles/branch", json=BRANCH)
    rules = built.ruleset()
    profile = next(row for row in rules.policy.profiles if row.name == "branch")
    names = build_names(rules.catalogue, rules.policy, NOW_NS, profile)
    assert found["entries"] == len(names.blocked) > 0
    assert found["removed"] > found["added"] > 0  # beside the default profile: visitors come, other services go
    same = look(client, "branch", BRANCH)["unsanctioned-domains"]
    assert (same["added"], same["removed"]) == (0, 0)  # and now beside itself


@pytest.mark.usefixtures("built")
def test_a_list_that_is_too_long_is_said_before_it_is_made(client: httpx.Client) -> None:
    found = look(client, "branch", BRANCH | {"max_entries": 2})["unsanctioned-domains"]
    assert [row["guard"] for row in found["refusals"]] == ["too_many"]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("name", "change", "status"),
    [
        ("berlin", {}, 409),
        ("strict", {}, 409),
        ("Branch", {}, 422),
        ("branch", {"services": ["no-such-service"]}, 422),
        ("branch", {"networks": ["10.0.0.0/99"]}, 422),
        ("branch", {"roles": []}, 422),
        ("branch", {"max_shrink": 0}, 422),
        ("branch", {"colour": "blue"}, 422),
    ],
)
def test_what_cannot_be_a_profile_is_refused(
    client: httpx.Client, name: str, change: dict[str, Any], status: int
) -> None:
    before = known(client)
    for answer in (
        client.put(f"/v1/profiles/{name}", json=BRANCH | change),
        client.post(f"/v1/profiles/{name}/preview", json=BRANCH | change),
    ):
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    assert known(client) == before


def test_there_is_room_for_as_many_as_are_built(built: Installation, client: httpx.Client) -> None:
    for number in range(MAX_PROFILES - 1):  # one is the file's
        assert client.put(f"/v1/profiles/p{number}", json=BRANCH).status_code == 200
    assert client.put("/v1/profiles/one-more", json=BRANCH).status_code == 409
    assert client.put("/v1/profiles/p0", json=BRANCH | {"services": ["bore"]}).status_code == 200
    assert len(built.ruleset().policy.profiles) == MAX_PROFILES + 2


def test_the_file_wins_and_what_it_takes_the_room_of_is_left_out(built: Installation, client: httpx.Client) -> None:
    client.put("/v1/profiles/branch", json=BRANCH)
    file = "".join(f'[[profile]]\nname = "{name}"\n' for name in ("branch", *(f"f{n}" for n in range(15))))
    built.file_policy = parse_policy(file, "policy.toml", RULES.catalogue, NOW_NS)
    assert known(client)["branch"]["origin"] == "file"
    assert known(client)["branch"]["services"] == []
    assert len(built.ruleset().policy.profiles) == MAX_PROFILES + 2


def test_a_profile_that_a_token_is_bound_to_stays(built: Installation, client: httpx.Client) -> None:
    client.put("/v1/profiles/branch", json=BRANCH)
    add_token(built.store, name="branch-fw", profile="branch")
    refused = client.delete("/v1/profiles/branch")
    assert (refused.status_code, "branch-fw" in refused.json()["detail"]) == (409, True)
    assert "branch" in known(client)


@needs_chrome
def test_it_is_chosen_looked_at_and_made_on_the_page(
    built: Installation, client: httpx.Client, browser: webdriver.Chrome, see: See, eventually: Eventually
) -> None:
    browser.get(f"{built.url}/lists")
    see("a[href='/profiles']").click()
    assert "policy file" in see("#profile-berlin").text
    see("#new-profile [name=name]").send_keys("branch-office")
    see("#new-profile option[value=ngrok]").click()
    see("#new-profile [value=visitor]").click()
    entries = look(client, "branch-office", BRANCH)["unsanctioned-domains"]["entries"]
    eventually(lambda: f"unsanctioned-domains: {entries} entries" in text_of(browser, "#new-profile .preview"))
    assert "branch-office" not in known(client)
    see("#new-profile [name=owner]").send_keys("netops@example.com")
    see("#new-profile [name=reason]").send_keys("small <firewalls>")
    see("#new-profile button[type=submit]").click()
    eventually(lambda: "small <firewalls>" in text_of(browser, "#profile-branch-office"))
    made = known(client)["branch-office"]
    assert (made["services"], made["roles"]) == (["ngrok"], ["agent", "visitor"])

    see("#profile-branch-office summary").click()
    assert see("#profile-branch-office option[value=ngrok]").is_selected()
    see("#profile-branch-office [name=max_entries]").send_keys("1")
    eventually(lambda: "A guard would keep" in text_of(browser, "#profile-branch-office .preview"))
    see("#profile-branch-office .danger").click()
    browser.switch_to.alert.accept()
    eventually(lambda: "branch-office" not in text_of(browser, "main"))
    assert severe_log(browser) == []


def test_a_profile_that_is_not_in_force_yet_is_answered_all_the_same(installation: Installation) -> None:
    context = replace(installation.context(), ruleset=lambda: RULES)
    with serving(installation, AccessConfig(), app=create_app(context)) as client:
        made = client.put("/v1/profiles/branch", json=BRANCH)
    assert (made.status_code, made.json()["name"], made.json()["origin"]) == (200, "branch", "database"), made.text
