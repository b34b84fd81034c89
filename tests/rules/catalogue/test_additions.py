"""What an organisation adds to the catalogue, and what is refused with a sentence that says what to do."""

import pytest

from rules.catalogue.catalogue import Catalogue, build_catalogue, read_files
from rules.catalogue.service import ListKind
from rules.errors import InvalidCatalogue

NEW = """
name = "Partner tunnel"
homepage = "https://partner.example"
category = "reverse-tunnel"
confidence = "high"
agent_domains = ["agents.partner.example"]
ports = ["tcp/443"]
sources = ["a mail of the partner, ticket 4711"]
"""


def catalogue_with(**files: str) -> Catalogue:
    return build_catalogue(read_files(), {f"{name}.toml": text for name, text in files.items()})


def kinds(catalogue: Catalogue, name: str) -> tuple[str, set[ListKind]] | None:
    match = catalogue.match(name)
    return (match.service.id, set(match.kinds)) if match else None


def test_a_file_of_its_own_is_a_new_service() -> None:
    catalogue = catalogue_with(partner=NEW)
    assert kinds(catalogue, "x.agents.partner.example") == ("partner", {ListKind.AGENT})
    assert catalogue.additions == ("partner.toml",)


def test_lists_of_a_shipped_service_gain_and_lose_and_fields_are_replaced() -> None:
    catalogue = catalogue_with(
        more='extends = "ngrok"\nwhy = "x"\n[add]\nagent_domains = ["dial.vendor.example", "lennut.com"]\n'
        '[remove]\nendpoint_domains = ["ngrok.pizza"]\n[replace]\nconfidence = "low"\n'
    )
    ngrok = catalogue.services["ngrok"]
    assert kinds(catalogue, "dial.vendor.example") == ("ngrok", {ListKind.AGENT})
    assert kinds(catalogue, "connect.ngrok-agent.com") == ("ngrok", {ListKind.AGENT})
    assert kinds(catalogue, "abc.ngrok.pizza") is None
    assert (ngrok.confidence, ngrok.agent_domains.count("lennut.com")) == ("low", 1)


def test_additions_apply_in_the_order_of_their_names_and_see_each_other() -> None:
    catalogue = catalogue_with(
        a=NEW,
        b='extends = "a"\n[add]\nagent_domains = ["b.example"]\n',
        c='extends = "a"\n[remove]\nagent_domains = ["b.example"]',
    )
    assert kinds(catalogue, "b.example") is None
    assert kinds(catalogue, "agents.partner.example") == ("a", {ListKind.AGENT})


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("ngrok", NEW, r'ngrok\.toml: .*has a service ngrok already: write `extends = "ngrok"`'),
        ("x", 'extends = "ngrk"', r"x\.toml: extends: 'ngrk' is no service; did you mean ngrok\?"),
        ("x", "extends = 7", r"x\.toml: extends: 7 is no service"),
        ("x", 'extends = "ngrok"\nagent_domains = []', r"x\.toml: agent_domains: unknown here; .*\[add\]"),
        ("x", 'extends = "ngrok"\n[add]\nconfidence = "low"', r"x\.toml: add\.confidence: .*\[replace\]"),
        ("x", 'extends = "ngrok"\n[add]\nagent_domain = []', r"x\.toml: add\.agent_domain: .*agent_domains"),
        ("x", 'extends = "ngrok"\nadd = 1', r"x\.toml: add: write it as a table"),
        (
            "x",
            'extends = "ngrok"\n[remove]\nagent_domains = ["no.example"]',
            r"remove\.agent_domains: 'no\.example' is not",
        ),
        ("x", 'extends = "ngrok"\n[replace]\nid = "y"', r"x\.toml: replace\.id"),
        ("x", 'extends = "ngrok"\n[replace]\nconfidence = "sure"', r"x\.toml: .*confidence"),
        ("x", 'extends = "ngrok"\n[add]\nagent_domains = ["a..b"]', r"x\.toml: agent name 'a\.\.b'"),
        ("x", NEW.replace("agent_domains", "agent_domain"), r"x\.toml: .*agent_domain"),
        ("x", NEW.replace("agents.", "agents.."), r"x\.toml: agent name"),
        ("x", "[[[", r"x\.toml: "),
    ],
)
def test_what_cannot_be_used_names_file_and_key(name: str, text: str, says: str) -> None:
    with pytest.raises(InvalidCatalogue, match=says):
        catalogue_with(**{name: text})
