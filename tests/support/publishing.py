"""A publisher whose policy and clock a test changes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dns_server import unbound
from observations import NOW_NS

from db.store import Store
from molecatcher.lists.list_files import ListFiles
from molecatcher.lists.publish import Publisher
from molecatcher.names.resolve import NameResolver
from molecatcher.shared_file import SharedFile
from rules.catalogue.catalogue import load_catalogue
from rules.lists.blocklist import AddressList, ListName
from rules.policy.policy import Policy
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset

CATALOGUE = load_catalogue()
SANCTION = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'
PINNED = SANCTION + 'addresses = ["3.9.0.0/16"]\n'
DAY_NS = 86_400 * 10**9
NAMES, ADDRESSES = ListName.UNSANCTIONED_DOMAINS, ListName.UNSANCTIONED_ADDRESSES

RECORDS = {
    "tunnel.us.ngrok.com": ("3.1.2.3", "3.9.0.1", "3.5.5.5", "2600:1f00::7"),
    "tunnels.example.com": ("3.5.5.5",),
    "us.tunnels.example.com": ("3.5.5.6",),
    "serveo.net": ("5.255.123.12",),
    "region1.v2.argotunnel.com": ("198.41.192.7",),
}


def policy(text: str) -> Policy:
    return parse_policy(text, "policy.toml", CATALOGUE, NOW_NS)


class Setting:
    """A publisher whose policy can be replaced, asking a real resolver."""

    def __init__(self, store: Store, server: str, text: str, folder: Path) -> None:
        self.rules = Ruleset(CATALOGUE, policy(text))
        self.now_ns = NOW_NS
        resolver = NameResolver([server], timeout_s=2)
        self.agents = SharedFile(folder / "agent_addresses.json", dict[str, tuple[str, str]])
        self.publisher = Publisher(
            store,
            lambda: self.rules,
            resolver,
            60,
            files=ListFiles(folder),
            agent_addresses=self.agents,
            now_ns=lambda: self.now_ns,
        )

    def change(self, text: str) -> None:
        self.rules = Ruleset(CATALOGUE, policy(text))
        self.publisher.follow_rules()

    def prefixes(self) -> set[str] | None:
        snapshot = self.publisher.snapshot(ADDRESSES)
        if snapshot is None:
            return None
        assert isinstance(snapshot.body, AddressList)
        return {entry.prefix for entry in snapshot.body.blocked}


@contextmanager
def setting(tmp_path: Path, store: Store, text: str, records: Mapping[str, tuple[str, ...]]) -> Iterator[Setting]:
    with unbound(tmp_path, records) as server:
        yield Setting(store, server, text, tmp_path / "lists")
