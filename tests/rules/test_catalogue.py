from pathlib import Path

import pytest

from rules.catalogue import Catalogue, load_catalogue
from rules.errors import InvalidCatalogue
from rules.service import ListKind
from rules.verdict import Decision

AGENT, ENDPOINT, AUXILIARY = ListKind.AGENT, ListKind.ENDPOINT, ListKind.AUXILIARY

GOOD = """
name = "X"
homepage = "https://x.example"
category = "reverse-tunnel"
confidence = "high"
agent_domains = ["x.example"]
ports = ["tcp/443"]
sources = ["x/x:README.md"]
"""


def test_every_service_of_the_owners_list_is_there(catalogue: Catalogue) -> None:
    assert len(catalogue.services) == 101 + 1  # and dns2tcp
    assert all(service.sources for service in catalogue.services.values())
    assert len(catalogue.shared) == 26


@pytest.mark.parametrize(
    ("name", "service", "kinds"),
    [
        ("connect.ngrok-agent.com", "ngrok", {AGENT}),
        ("connect.us-cal-1.ngrok-agent.com", "ngrok", {AGENT}),
        ("connect.zz.ngrok-agent.com", "ngrok", {AGENT}),
        ("tunnel.us.ngrok.com", "ngrok", {AGENT}),
        ("korgn.su.lennut.com", "ngrok", {AGENT}),
        ("kubernetes-binding-ingress.ngrok.io", "ngrok", {AGENT}),
        ("crl.ngrok-agent.com", "ngrok", {AUXILIARY}),
        ("update.equinox.io", "ngrok", {AUXILIARY}),
        ("abc.ngrok-free.app", "ngrok", {ENDPOINT}),
        ("0.tcp.eu.ngrok.io", "ngrok", {ENDPOINT}),
        ("region1.v2.argotunnel.com", "cloudflared", {AGENT}),
        ("update.argotunnel.com", "cloudflared", {AUXILIARY}),
        ("x.trycloudflare.com", "cloudflared", {ENDPOINT}),
        ("bore.pub", "bore", {AGENT, ENDPOINT}),
        ("serveo.net", "serveo", {AGENT}),
        ("me.serveo.net", "serveo", {ENDPOINT}),
        ("frp-abc.com", "sakurafrp", {AGENT}),
    ],
)
def test_names_are_found_in_the_most_specific_list(
    catalogue: Catalogue, name: str, service: str, kinds: set[ListKind]
) -> None:
    match = catalogue.match(name)
    assert match is not None
    assert (match.service.id, match.kinds) == (service, frozenset(kinds))


@pytest.mark.parametrize(
    "name",
    [
        *("ngrok.com", "dashboard.ngrok.com", "docs.ngrok.com", "api.ngrok.com", "www.ngrok.com", "console.serveo.net"),
        *("notngrok-agent.com", "connect.ngrok-agent.com.example.net", "xserveo.net", "evil-tunnels.example.com"),
        *("tailscale.com", "www.twingate.com", "visualstudio.com", "github.com", "frp-abcd.com"),
    ],
)
def test_sites_and_lookalikes_are_not_listed(catalogue: Catalogue, name: str) -> None:
    assert catalogue.match(name) is None


def test_reverse_and_ssh_tunnels_are_blocked_and_the_rest_is_watched(catalogue: Catalogue) -> None:
    decisions = {service.id: service.default_decision for service in catalogue.services.values()}
    assert decisions["ngrok"] is decisions["serveo"] is Decision.BLOCK
    assert decisions["tailscale"] is decisions["teamviewer"] is Decision.MONITOR
    assert decisions["horizon"] is Decision.MONITOR  # low confidence


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (GOOD.replace("agent_domains", "agent_domain"), "agent_domain"),
        (GOOD.replace('"reverse-tunnel"', '"tunnels"'), "category"),
        (GOOD.replace('["x/x:README.md"]', "[]"), "sources"),
        (GOOD.replace('name = "X"', ""), "name"),
        (GOOD + 'addresses = ["1.2.3.400"]', "1.2.3.400"),
        (GOOD + "=", "x.toml"),
    ],
)
def test_a_wrong_service_file_says_what_is_wrong(tmp_path: Path, broken: str, says: str) -> None:
    with pytest.raises(InvalidCatalogue, match=says.replace(".", r"\.")):
        load_one(tmp_path, broken)


def load_one(folder: Path, service: str) -> Catalogue:
    (folder / "services").mkdir()
    (folder / "services" / "x.toml").write_text(service)
    (folder / "shared_infrastructure.toml").write_text(
        'version = "2026.11.23"\ngenerated = 2026-11-23\nshared = []\nshared_network = []\n'
    )
    return load_catalogue(folder)


def test_a_wrong_name_names_file_and_list(tmp_path: Path) -> None:
    with pytest.raises(InvalidCatalogue, match=r"x\.toml: agent name 'x\.\.example'"):
        load_one(tmp_path, GOOD.replace('["x.example"]', '["x..example"]'))


def test_a_missing_catalogue_ends_with_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidCatalogue, match="reinstall"):
        load_catalogue(tmp_path)
