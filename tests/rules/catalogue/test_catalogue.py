import tomllib
from pathlib import Path

import pytest

from rules.catalogue.catalogue import SHARED_FILE, Catalogue, load_catalogue, read_files
from rules.catalogue.service import ListKind
from rules.errors import InvalidCatalogue
from rules.values.verdict import Decision

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
    assert len(catalogue.services) == 101 + 1 + 5  # and dns2tcp, and the ways into machines that cloud providers offer
    assert all(service.sources for service in catalogue.services.values())
    assert len(catalogue.shared) == 26 + 2


def test_every_look_up_service_has_a_source(catalogue: Catalogue) -> None:
    rows = tomllib.loads(read_files()[SHARED_FILE])["lookup_service"]
    assert {row["domain"] for row in rows if row["source"]} == catalogue.lookup_services
    assert len(rows) == 22


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
        ("ssmmessages.eu-central-1.amazonaws.com", "aws-ssm", {AGENT, ENDPOINT}),
        ("ec2messages.eu-central-1.amazonaws.com", "aws-ssm", {AGENT}),
        ("mtls.tunnel.cloudproxy.app", "google-iap-tcp", {AGENT, ENDPOINT}),
        ("bst-1.bastion.azure.com", "azure-bastion", {AGENT, ENDPOINT}),
        ("azgnrelay-eastus-l1.servicebus.windows.net", "azure-arc", {AGENT, ENDPOINT}),
        ("g17-prod-by3-010-sb.servicebus.windows.net", "azure-relay", {AGENT, ENDPOINT}),
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
        *("ssm.eu-central-1.amazonaws.com", "sts.amazonaws.com", "iap.googleapis.com", "portal.azure.com"),
        *("orders.servicebus.windows.net", "gateway-prod-orders-sb.servicebus.windows.net"),
    ],
)
def test_sites_and_lookalikes_are_not_listed(catalogue: Catalogue, name: str) -> None:
    assert catalogue.match(name) is None


def test_reverse_and_ssh_tunnels_are_blocked_and_the_rest_is_watched(catalogue: Catalogue) -> None:
    decisions = {service.id: service.default_decision for service in catalogue.services.values()}
    assert decisions["ngrok"] is decisions["serveo"] is Decision.BLOCK
    assert decisions["tailscale"] is decisions["teamviewer"] is Decision.MONITOR
    assert decisions["horizon"] is Decision.MONITOR  # low confidence
    for way_into_machines in ("aws-ssm", "google-iap-tcp", "azure-bastion", "azure-arc", "azure-relay"):
        assert decisions[way_into_machines] is Decision.MONITOR


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
        'version = "2026.11.23"\ngenerated = 2026-11-23\nshared = []\nshared_network = []\nlookup_service = []\n'
    )
    return load_catalogue(folder)


def test_a_wrong_name_names_file_and_list(tmp_path: Path) -> None:
    with pytest.raises(InvalidCatalogue, match=r"x\.toml: agent name 'x\.\.example'"):
        load_one(tmp_path, GOOD.replace('["x.example"]', '["x..example"]'))


def test_a_missing_catalogue_ends_with_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidCatalogue, match="reinstall"):
        load_catalogue(tmp_path)
