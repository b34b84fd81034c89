"""Checksums, empty lists and the bound of what is kept."""

import hashlib
import time

import httpx
import msgspec
import pytest
from installation import Installation, names_of, snapshot_of

from api.feeds.publication import Publication
from api.feeds.render import FeedFormat
from rules.lists.blocklist import AddressList, ListName, NameList, Snapshot
from rules.policy.profiles import DEFAULT_PROFILE

TXT, ADDRESSES = "/feeds/unsanctioned-domains.txt", "/feeds/unsanctioned-addresses.txt"


@pytest.mark.parametrize("query", ["", "?comments=0"])
@pytest.mark.parametrize("path", [TXT, "/feeds/unsanctioned-domains.rpz", ADDRESSES])
def test_checksums_are_of_the_plain_bytes(
    installation: Installation, client: httpx.Client, path: str, query: str
) -> None:
    installation.publish_both()
    content = client.get(path + query).content
    for name, of in (("md5", hashlib.md5), ("sha256", hashlib.sha256)):
        answer = client.get(f"{path}.{name}{query}", headers={"Accept-Encoding": "gzip"})
        assert answer.text == of(content).hexdigest() + "\n"
        assert "content-encoding" not in answer.headers
        again = client.get(f"{path}.{name}{query}", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304


@pytest.mark.parametrize("path", [f"{TXT}.md5.md5", f"{TXT}.sha1", "/feeds/.md5", "/feeds/md5"])
def test_there_are_no_other_siblings(installation: Installation, client: httpx.Client, path: str) -> None:
    installation.publish_both()
    assert client.get(path).status_code == 404


def test_an_empty_list_may_have_an_entry_that_nobody_has(installation: Installation, client: httpx.Client) -> None:
    installation.publish(NameList())
    installation.publish(AddressList())
    assert client.get(TXT).status_code == 404
    assert client.get(f"{TXT}.md5").status_code == 404
    assert client.get(f"{TXT}?empty=sentinel&comments=0").text == "empty.invalid\n"
    assert client.get(f"{ADDRESSES}?empty=sentinel&comments=0").text == "192.0.2.1\n"


def test_a_list_that_is_not_empty_has_no_sentinel(installation: Installation, client: httpx.Client) -> None:
    installation.publish_both()
    assert client.get(f"{TXT}?empty=sentinel").content == client.get(TXT).content


def test_a_state_that_was_prepared_is_there_when_it_comes_into_force() -> None:
    before = snapshot_of(names_of("a.example"))
    after = msgspec.structs.replace(snapshot_of(names_of("a.example b.example")), serial=before.serial + 1, digest="2")
    in_force = [before]
    publication, fresh = Publication(lambda *_key: in_force[0]), Publication(lambda *_key: after)
    name = before.list_name

    def is_there(feed_format: FeedFormat, *, comments: bool = True) -> bool:
        return publication.has(name, feed_format, before.profile, comments=comments)

    old = publication.edition(name, FeedFormat.TXT, comments=True)
    publication.edition(name, FeedFormat.TXT, comments=False)
    publication.edition(name, FeedFormat.SQUID, comments=True)
    publication.prepare(after, [FeedFormat.TXT, FeedFormat.RPZ])
    assert publication.edition(name, FeedFormat.TXT, comments=True) is old
    in_force[0] = after
    assert is_there(FeedFormat.TXT)
    assert is_there(FeedFormat.TXT, comments=False), "as the state before it was asked for"
    assert is_there(FeedFormat.RPZ)
    assert not is_there(FeedFormat.SQUID), "nobody pulled it lately"
    for feed_format in (FeedFormat.TXT, FeedFormat.RPZ):
        assert publication.edition(name, feed_format, comments=True) == fresh.edition(name, feed_format, comments=True)


def test_what_is_not_begun_in_time_is_left_to_who_asks() -> None:
    after = snapshot_of(names_of("a.example"))
    publication = Publication(lambda *_key: after)
    publication.prepare(after, [FeedFormat.TXT], time.monotonic() - 1)
    assert not publication.has(after.list_name, FeedFormat.TXT, after.profile, comments=True)
    assert publication.edition(after.list_name, FeedFormat.TXT, comments=True)


def test_what_is_kept_is_bounded() -> None:
    snapshot = snapshot_of(names_of(" ".join(f"host-{number}.example" for number in range(1000))))

    def always(name: ListName, profile: str = DEFAULT_PROFILE) -> Snapshot:  # noqa: ARG001 - the same whatever is asked
        return snapshot

    whole = Publication(always)
    one = whole.edition(ListName.UNSANCTIONED_DOMAINS, FeedFormat.TXT, comments=True)
    assert one is not None
    small = Publication(always, max_kept_octets=3 * one.octets)
    for feed_format in (FeedFormat.TXT, FeedFormat.RPZ, FeedFormat.SQUID, FeedFormat.DNSMASQ, FeedFormat.TXT):
        for comments in (True, False):
            assert small.edition(ListName.UNSANCTIONED_DOMAINS, feed_format, comments=comments) is not None
            assert small.kept_octets <= 3 * one.octets
    assert small.edition(ListName.UNSANCTIONED_DOMAINS, FeedFormat.TXT, comments=True) == one
    small.prepare(msgspec.structs.replace(snapshot, serial=8), list(FeedFormat)[:8])
    assert small.kept_octets <= 3 * one.octets
