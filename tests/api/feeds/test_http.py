"""The HTTP contract of the feeds, as firewalls use it."""

import gzip
from collections.abc import Callable
from email.utils import formatdate

import httpx
import pytest
from installation import Installation, names_of

from api.feeds.formats.base import Format
from api.feeds.publication import Publication
from api.feeds.registry import REGISTRY
from api.feeds.render import FeedFormat
from rules.lists.blocklist import AddressEntry, AddressList, ListName, NameEntry, NameList, Scope, UrlList

TXT, RPZ = "/feeds/unsanctioned-domains.txt", "/feeds/unsanctioned-domains.rpz"
ADDRESSES = "/feeds/unsanctioned-addresses.txt"
FEEDS = (TXT, RPZ, ADDRESSES)
NOW_S = 1_795_460_400


@pytest.fixture
def published(installation: Installation) -> Installation:
    installation.publish_both()
    installation.publish(UrlList(names_of("=tunnel.ngrok.com").blocked))
    return installation


@pytest.mark.parametrize("path", FEEDS)
@pytest.mark.usefixtures("published")
def test_a_list_comes_whole_with_its_headers(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["last-modified"] == formatdate(NOW_S, usegmt=True)
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["x-feed-serial"] == "7"
    assert answer.headers["x-feed-count"] == ("1" if path == ADDRESSES else "2")
    assert answer.headers["x-feed-created"] == "2026-11-23T19:00:00.000000Z"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert "set-cookie" not in answer.headers
    assert answer.content.endswith(b"\n")


@pytest.mark.parametrize("feed", REGISTRY, ids=lambda feed: f"{feed.list_name}.{feed.extension}")
@pytest.mark.usefixtures("published")
def test_every_format_is_served_as_what_it_is(client: httpx.Client, feed: Format) -> None:
    answer = client.get(f"/feeds/{feed.list_name}.{feed.extension}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == feed.media_type
    assert answer.headers["x-feed-count"] in {"1", "2"}


@pytest.mark.usefixtures("published")
def test_the_text_list(client: httpx.Client) -> None:
    expected = "ngrok-agent.com\n*.ngrok-agent.com\ntunnel.ngrok.com\n"
    assert client.get(TXT, params={"comments": 0}).text == expected
    assert client.get(TXT).text.endswith("\n" + expected)
    assert client.get(ADDRESSES, params={"comments": "0"}).text == "203.0.113.9\n"


@pytest.mark.parametrize("path", FEEDS)
@pytest.mark.usefixtures("published")
def test_head_has_the_headers_of_get(client: httpx.Client, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert head.status_code == 200
    assert head.content == b""
    names = ("content-length", "etag", "last-modified", "content-type", "x-feed-serial", "x-feed-count")
    assert [head.headers[name] for name in names] == [get.headers[name] for name in names]


@pytest.mark.parametrize("path", FEEDS)
@pytest.mark.usefixtures("published")
def test_what_is_known_is_not_sent_again(client: httpx.Client, path: str) -> None:
    etag = client.get(path).headers["etag"]
    for tags in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        answer = client.get(path, headers={"If-None-Match": tags})
        assert answer.status_code == 304
        assert answer.content == b""
        assert answer.headers["etag"] == etag
        assert answer.headers["x-feed-serial"] == "7"


@pytest.mark.usefixtures("published")
def test_tags_in_several_header_lines_are_one_list(client: httpx.Client) -> None:
    etag = client.get(TXT).headers["etag"]
    lines = [("If-None-Match", '"other"'), ("If-None-Match", etag)]
    assert client.get(TXT, headers=lines).status_code == 304


@pytest.mark.usefixtures("published")
def test_every_form_has_its_own_strong_tag(client: httpx.Client) -> None:
    zipped = {"Accept-Encoding": "gzip"}
    tags = [client.get(path).headers["etag"] for path in (*FEEDS, f"{TXT}?comments=0")]
    tags += [client.get(path, headers=zipped).headers["etag"] for path in FEEDS]
    assert len(set(tags)) == len(tags)
    assert all(tag.startswith('"') for tag in tags)


@pytest.mark.usefixtures("published")
def test_if_none_match_beats_if_modified_since(client: httpx.Client) -> None:
    headers = {"If-None-Match": '"old"', "If-Modified-Since": formatdate(NOW_S, usegmt=True)}
    assert client.get(TXT, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("since", "status"),
    [
        (formatdate(NOW_S, usegmt=True), 304),
        (formatdate(NOW_S - 1, usegmt=True), 200),
        (formatdate(NOW_S + 1, usegmt=True), 200),  # of a list made before a clock was set back
        (formatdate(NOW_S + 3600, usegmt=True), 200),  # the client's clock is wrong: not to be trusted
        ("yesterday", 200),
        ("Mon, 99 Foo 2026 99:99:99 GMT", 200),
        ("", 200),
    ],
)
@pytest.mark.usefixtures("published")
def test_if_modified_since(client: httpx.Client, since: str, status: int) -> None:
    assert client.get(TXT, headers={"If-Modified-Since": since}).status_code == status


@pytest.mark.parametrize(
    ("offer", "is_zipped"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("identity, gzip;q=0.1", False),
        ("identity;q=0.5, gzip", True),
        ("identity;q=0", False),
        ("", False),
        (";;,q=", False),
    ],
)
@pytest.mark.usefixtures("published")
def test_gzip_is_for_those_who_ask(client: httpx.Client, offer: str, is_zipped: bool) -> None:
    plain = client.get(TXT).content
    with client.stream("GET", TXT, headers={"Accept-Encoding": offer}) as answer:
        raw = b"".join(answer.iter_raw())
    assert (answer.headers.get("content-encoding") == "gzip") is is_zipped
    assert int(answer.headers["content-length"]) == len(raw)
    assert (gzip.decompress(raw) if is_zipped else raw) == plain
    assert answer.headers["vary"] == "Accept-Encoding"


@pytest.mark.usefixtures("published")
def test_a_zipped_list_is_known_by_its_own_tag(client: httpx.Client) -> None:
    zipped = {"Accept-Encoding": "gzip"}
    etag = client.get(TXT, headers=zipped).headers["etag"]
    assert client.get(TXT, headers=zipped | {"If-None-Match": etag}).status_code == 304
    assert client.get(TXT, headers={"If-None-Match": etag}).status_code == 200


def test_a_new_snapshot_is_served_at_once(
    published: Installation, client: httpx.Client, make_names: Callable[..., NameList]
) -> None:
    before = client.get(TXT)
    published.publish(make_names("bore.example"), serial=8, created_at_ns=(NOW_S + 60) * 10**9)
    published.now_ns += 120 * 10**9
    after = client.get(
        TXT, headers={"If-None-Match": before.headers["etag"], "If-Modified-Since": before.headers["last-modified"]}
    )
    assert after.status_code == 200
    assert after.headers["x-feed-serial"] == "8"
    assert "bore.example" in after.text


def test_before_the_first_snapshot_the_answer_is_503(client: httpx.Client) -> None:
    for path in FEEDS:
        answer = client.get(path)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:molecatcher:problem:no-snapshot"


class TestEmptyLists:
    @pytest.fixture(autouse=True)
    def empty(self, installation: Installation) -> None:
        installation.publish(NameList())
        installation.publish(AddressList())

    @pytest.mark.parametrize("path", FEEDS)
    def test_an_empty_list_is_404(self, client: httpx.Client, path: str) -> None:
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json()["type"] == "urn:molecatcher:problem:empty-list"

    @pytest.mark.parametrize("path", FEEDS)
    def test_who_asks_for_it_gets_comments(self, client: httpx.Client, path: str) -> None:
        answer = client.get(path, params={"empty": "comment"})
        assert answer.status_code == 200
        assert answer.headers["x-feed-count"] == "0"
        assert answer.text.startswith(("# ", "; "))

    @pytest.mark.parametrize("path", FEEDS)
    def test_nobody_gets_a_blank_file(self, client: httpx.Client, path: str) -> None:
        assert client.get(path, params={"empty": "comment", "comments": 0}).status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "/feeds/unsanctioned-urls.rpz",
        "/feeds/unsanctioned-addresses.rpz",
        "/feeds/unsanctioned-domains",
        "/feeds/",
        "/feeds/..%2Fv1",
        "/feeds/unsanctioned-domains.txt/",
    ],
)
@pytest.mark.usefixtures("published")
def test_an_unknown_list_is_404_and_never_a_redirect(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("query", ["comment=0", "comments=2", "comments=no", "empty=blank", "profile="])
@pytest.mark.usefixtures("published")
def test_a_parameter_that_is_not_understood_is_refused(client: httpx.Client, query: str) -> None:
    assert client.get(f"{TXT}?{query}").status_code == 422


def test_a_list_that_cannot_be_written_is_503(installation: Installation, client: httpx.Client) -> None:
    installation.publish(NameList(blocked=(NameEntry("a\nb.example", Scope.EXACT, "ngrok"),)))
    installation.publish(AddressList((AddressEntry("0.0.0.0/0", "ngrok"),)))
    for path in (TXT, ADDRESSES):
        answer = client.get(path)
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:molecatcher:problem:unrenderable-list"


def test_an_unchanged_list_is_rendered_once(installation: Installation) -> None:
    installation.publish_both()
    publication = Publication(installation.snapshot)
    name, text = ListName.UNSANCTIONED_DOMAINS, FeedFormat.TXT
    first = publication.edition(name, text, comments=True)
    assert first is not None
    assert publication.edition(name, text, comments=True) is first
