"""`molecatcher blocklist`: a list built now, in a format of the feeds."""

import sys
import time

import typer
from rich.console import Console

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.registry import REGISTRY
from api.feeds.render import render
from molecatcher.catalogue.folder import CatalogueFolder
from molecatcher.commands.tables import counted
from molecatcher.errors import SetupError
from molecatcher.live_rules import LiveRules
from molecatcher.names.resolve import NameResolver
from molecatcher.settings import Settings
from rules.lists.address_building import build_addresses, names_to_resolve, names_to_spare
from rules.lists.blocklist import AddressList, Body, ListName, NameList, Snapshot
from rules.lists.building import build_names, build_urls
from rules.lists.encoding import digest
from rules.policy.profiles import DEFAULT_PROFILE, Profile
from rules.policy.ruleset import Ruleset

SHORT_NAMES = {
    "domains": ListName.UNSANCTIONED_DOMAINS,
    "addresses": ListName.UNSANCTIONED_ADDRESSES,
    "urls": ListName.UNSANCTIONED_URLS,
}


def print_list(wanted: str, settings: Settings, profile: str = DEFAULT_PROFILE) -> None:
    """Print the list `wanted` (`domains.txt`, `domains.rpz`, `addresses.txt`) in a profile to standard output.

    Raises:
        BadParameter: there is no such list.
        SetupError: there is no such profile, or its names cannot be resolved here.
    """
    list_name, feed_format = _parse(wanted)
    catalogue = CatalogueFolder(settings.state, settings.catalogue_dir).load()
    rules, now_ns = LiveRules(catalogue, settings.policy, time.time_ns).current, time.time_ns()
    chosen = _profile(rules, profile)
    body: Body = build_names(rules.catalogue, rules.policy, now_ns, chosen)
    if list_name is ListName.UNSANCTIONED_ADDRESSES:
        body = _addresses(rules, settings, chosen, now_ns)
    elif list_name is ListName.UNSANCTIONED_URLS and isinstance(body, NameList):
        body = build_urls(body, rules.policy, now_ns)
    snapshot = Snapshot(list_name, now_ns // 1_000_000_000, now_ns, digest(body), body, chosen.name)
    sys.stdout.buffer.write(render(snapshot, feed_format))


def choices() -> dict[str, Format]:
    """Return what can be asked for (`domains.txt`), with the list and format that it means."""
    short = {name: word for word, name in SHORT_NAMES.items()}
    return {f"{short[feed.list_name]}.{feed.extension}": feed for feed in REGISTRY}


def _parse(wanted: str) -> tuple[ListName, FeedFormat]:
    stem, _, extension = wanted.partition(".")
    known = choices()
    found = known.get(f"{stem.removeprefix('unsanctioned-')}.{extension or 'txt'}")
    if found is None:
        raise typer.BadParameter(f"there is no list {wanted!r}: `molecatcher blocklist --help` names them")
    return found.list_name, found.extension


def _profile(rules: Ruleset, name: str) -> Profile:
    known = {profile.name: profile for profile in rules.policy.profiles}
    if name not in known:
        raise SetupError(f"there is no profile {name!r}: choose {', '.join(known)}")
    return known[name]


def _addresses(rules: Ruleset, settings: Settings, profile: Profile, now_ns: int) -> AddressList:
    wanted = names_to_resolve(rules.catalogue, rules.policy, now_ns, profile)
    sanctioned = [sanction.domain for sanction in rules.policy.active_sanctions(now_ns)]
    kept = names_to_spare(rules.catalogue, rules.policy, now_ns)
    with Console(stderr=True).status(f"resolving {counted(len(wanted) + len(kept), 'name')}"):
        answers = {answer.name: answer for answer in NameResolver(settings.resolvers).resolve([*wanted, *kept])}
    failed = [name for name, answer in answers.items() if not answer.ok]
    if any(name in failed for name in sanctioned) or len(failed) > len(answers) // 10:
        raise SetupError(
            f"{len(failed)} of {len(answers)} names, such as {failed[0]}, have no answer: check this host's DNS"
        )
    spared = [address for name in kept for address in answers[name].addresses]
    resolved = {name: answer.addresses for name, answer in answers.items()}
    return build_addresses(rules.catalogue, rules.policy, now_ns, profile, resolved=resolved, sanctioned=spared)
