"""Lists of several profiles: built while they are in use, each with its own numbers, names of findings among them."""

from pathlib import Path

from installation import add_token, event_of
from observations import NOW_NS
from publishing import CATALOGUE, DAY_NS, NAMES, SANCTION, Setting, policy

from db.store import Store, open_store
from db.values import FindingChange, FindingFilter, FindingState
from rules.lists.blocklist import ListName, NameList, Origin, UrlList, first_serial
from rules.policy.ruleset import Ruleset
from rules.values.event import EventReason
from rules.values.observation import Evidence
from rules.values.verdict import Outcome, Role

CERTAIN = '[[profile]]\nname = "certain"\nfindings = "certain"\n'
NOBODY = "127.0.0.1#9"


def setting_of(store: Store, tmp_path: Path, text: str = "") -> Setting:
    return Setting(store, NOBODY, text, tmp_path / "lists")


def names_in(here: Setting, profile: str = "agents-only") -> set[str] | None:
    snapshot = here.publisher.snapshot(NAMES, profile)
    if snapshot is None:
        return None
    assert isinstance(snapshot.body, NameList)
    return {entry.name for entry in snapshot.body.blocked}


def test_only_profiles_in_use_are_built(tmp_path: Path, store: Store) -> None:
    here = setting_of(store, tmp_path)
    here.publisher.publish_names()
    assert names_in(here, "strict") is None
    here.publisher.use_profile("strict")
    here.publisher.use_profile("nobody-has-this")
    here.publisher.publish_names()
    assert {profile.name for profile, is_in_use in here.publisher.profiles() if is_in_use} == {"agents-only", "strict"}
    assert "ngrok.app" in (names_in(here, "strict") or ())
    assert "ngrok.app" not in (names_in(here) or ())
    here.now_ns += 8 * DAY_NS
    here.publisher.publish_names()
    assert names_in(here, "strict") is None


def test_a_profile_that_a_token_is_made_for_is_built(tmp_path: Path, store: Store) -> None:
    add_token(store, profile="strict")
    here = setting_of(store, tmp_path)
    here.publisher.publish_names()
    assert names_in(here, "strict")


def test_each_profile_counts_for_itself_and_survives_a_restart(tmp_path: Path, store: Store) -> None:
    here = setting_of(store, tmp_path)
    here.publisher.use_profile("strict")
    here.publisher.publish_names()
    here.change('[[blocked]]\nentry = "a.colleague.example"\nowner = "o"\nreason = "r"\n')
    here.change("")
    here.change(f'{CERTAIN}[services]\nlocaltunnel = "monitor"\n')
    here.publisher.use_profile("certain")
    here.publisher.publish_names()
    serials = {
        (name.value, profile): snapshot.serial
        for name in (NAMES, ListName.UNSANCTIONED_URLS)
        for profile in ("agents-only", "strict", "certain")
        if (snapshot := here.publisher.snapshot(name, profile)) is not None
    }
    first = first_serial(here.now_ns)
    assert serials["unsanctioned-domains", "certain"] == serials["unsanctioned-urls", "certain"] == first
    assert serials["unsanctioned-domains", "strict"] == serials["unsanctioned-domains", "agents-only"] == first + 3
    with open_store(tmp_path / "new.db") as empty:
        for kept in (store, empty):
            again = setting_of(kept, tmp_path, f'{CERTAIN}[services]\nlocaltunnel = "monitor"\n')
            again.publisher._restore()
            again.publisher.publish_names()
            for (name, profile), serial in serials.items():
                snapshot = again.publisher.snapshot(ListName(name), profile)
                assert snapshot is not None
                assert (snapshot.serial, snapshot.profile) == (serial, profile)


def test_a_sanction_takes_urls_and_names_off_every_profile_at_once(tmp_path: Path, store: Store) -> None:
    here = setting_of(store, tmp_path)
    here.publisher.use_profile("strict")
    here.publisher.publish_names()
    here.change(SANCTION.replace("tunnels.example.com", "acme.ngrok.app"))
    for profile in ("agents-only", "strict"):
        urls = here.publisher.snapshot(ListName.UNSANCTIONED_URLS, profile)
        assert urls is not None
        assert isinstance(urls.body, UrlList)
        assert all(f"*.{entry.name}" != "*.ngrok.app" or entry.scope == "exact" for entry in urls.body.names)
        assert "acme.ngrok.app" not in (names_in(here, profile) or ())


def test_urls_that_are_held_leave_what_is_sanctioned_at_once(tmp_path: Path, store: Store) -> None:
    entry = '[[blocked]]\nentry = "{}"\nowner = "o"\nreason = "r"\n'
    many = "".join(entry.format(f"https://share.colleague.example/t{number}") for number in range(200))
    here = setting_of(store, tmp_path, many + entry.format("https://acme.colleague.example/tunnel"))
    here.publisher.publish_names()
    before = here.publisher.snapshot(ListName.UNSANCTIONED_URLS)
    here.change(SANCTION.replace("tunnels.example.com", "acme.colleague.example"))
    after = here.publisher.snapshot(ListName.UNSANCTIONED_URLS)
    assert here.publisher.held(ListName.UNSANCTIONED_URLS), "too many of them would go"
    assert before
    assert after
    assert after.serial == before.serial + 1
    assert isinstance(after.body, UrlList)
    assert {row.host for row in after.body.urls} == {"share.colleague.example"}
    assert len(after.body.urls) == 200


def delegated(name: str, **fields: object) -> dict[str, object]:
    reason = EventReason(Evidence.NS_DELEGATION, name, "its zone is delegated")
    return {"dst_name": name, "reasons": (reason,), "last_seen_ns": NOW_NS, "src_ip": "10.0.0.9"} | fields


def test_a_certain_name_is_listed_where_a_profile_asks_for_it(tmp_path: Path, store: Store) -> None:
    by_address = EventReason(Evidence.ADDRESS, "203.0.113.9", "it shares an address")
    store.append(
        [
            event_of(**delegated("ingress.colleague.example")),
            event_of(**delegated("visited.colleague.example", role=Role.VISITOR)),
            event_of(**delegated("innocent.colleague.example", reasons=(by_address,), verdict=Outcome.SUSPICIOUS)),
            event_of(**delegated("tunnels.example.com")),
        ]
    )
    here = setting_of(store, tmp_path, SANCTION + CERTAIN)
    for profile in ("certain", "strict"):
        here.publisher.use_profile(profile)
    here.publisher.publish_names()
    assert "ingress.colleague.example" in (names_in(here, "certain") or ())
    for profile in ("certain", "strict", "agents-only"):
        assert not {"visited.colleague.example", "innocent.colleague.example", "tunnels.example.com"} & (
            names_in(here, profile) or set()
        )
    assert "ingress.colleague.example" not in (names_in(here, "strict") or ())
    assert "ingress.colleague.example" not in (names_in(here) or ())
    here.now_ns += 31 * DAY_NS
    here.publisher.use_profile("certain")
    here.publisher.publish_names()
    assert "ingress.colleague.example" not in (names_in(here, "certain") or ())


def test_an_acknowledged_finding_lists_the_names_its_agent_said_hello_to(tmp_path: Path, store: Store) -> None:
    hello = EventReason(Evidence.JA4, "t13d1516h2", "the hello is that of an agent")
    store.append(
        [
            event_of(**delegated("guessed.colleague.example", reasons=(hello,), verdict=Outcome.SUSPICIOUS)),
            event_of(**delegated("other.colleague.example", reasons=(hello,), src_ip="10.0.0.8")),
        ]
    )
    here = setting_of(store, tmp_path)
    here.publisher.use_profile("strict")
    here.publisher.publish_names()
    assert "guessed.colleague.example" not in (names_in(here, "strict") or ())
    (finding,) = store.findings(FindingFilter(src="10.0.0.9"), 9)
    store.change_finding(finding.finding_id, FindingChange(state=FindingState.ACKNOWLEDGED), "analyst", NOW_NS)
    here.publisher.publish_names()
    snapshot = here.publisher.snapshot(NAMES, "strict")
    assert snapshot is not None
    found = [entry for entry in snapshot.body.blocked if entry.source is Origin.FINDING]
    assert [entry.text for entry in found] == ["guessed.colleague.example"]
    serial = snapshot.serial
    store.append([event_of(**delegated("guessed.colleague.example", reasons=(hello,), last_seen_ns=NOW_NS + DAY_NS))])
    here.publisher.publish_names()
    again = here.publisher.snapshot(NAMES, "strict")
    assert again is not None
    assert again.serial == serial, "a sighting moves the expiry and nothing else"


def test_a_profile_that_is_taken_out_of_the_policy_has_no_list(tmp_path: Path, store: Store) -> None:
    here = setting_of(store, tmp_path, CERTAIN)
    here.publisher.use_profile("certain")
    here.publisher.publish_names()
    assert names_in(here, "certain")
    here.rules = Ruleset(CATALOGUE, policy(""))
    here.publisher.publish_names()
    assert names_in(here, "certain") is None
