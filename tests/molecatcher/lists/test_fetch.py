"""The puller, against our real server and against ones that answer wrongly."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from empty_store import empty_store
from installation import NOW_NS, Installation, names_of, wait_until
from raw_answers import NOT_HTTP, answering
from servers import in_background, running

from api.app import create_app
from api.routes.feeds import FEEDS
from api.serving.server import ApiServer, bind, parse_listen
from molecatcher.commands.fetch import EPILOG, RECIPES
from molecatcher.errors import FetchError
from molecatcher.lists.fetch import Pull, replace_whole

LIST = b"before.example\n"


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with empty_store(tmp_path / "events.db") as store:
        installation = Installation(store, tmp_path / "events.db")
        installation.publish(names_of("first.example"), serial=7)
        server = ApiServer(create_app(installation.context()), bind(parse_listen("127.0.0.1:0")))
        with running(server):
            installation.url = f"http://{server.address}/feeds/unsanctioned-domains.txt?comments=0"
            installation.stop = server.stop
            yield installation


@contextmanager
def wrong_server(status: int, body: bytes, headers: dict[str, str]) -> Iterator[str]:
    """Run a server that gives this answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with in_background(server):
        yield f"http://127.0.0.1:{server.server_port}/feeds/unsanctioned-domains.txt"


def test_it_follows_the_list(installation: Installation, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    pull = Pull(installation.url, path)
    assert pull.run()
    assert path.read_text() == "first.example\n*.first.example\n"
    assert not pull.run()
    installation.publish(names_of("second.example"), serial=8, created_at_ns=NOW_NS + 60 * 10**9)
    assert pull.run()
    assert "second.example" in path.read_text()
    path.write_text("damaged")
    pull.run()
    assert "second.example" in path.read_text()
    assert not list(tmp_path.glob(".*.tmp"))


def test_it_keeps_the_list_while_the_server_is_away_or_falls_back(installation: Installation, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    pull = Pull(installation.url, path)
    pull.run()
    before = path.read_bytes()
    installation.publish(names_of("old.example"), serial=3, created_at_ns=NOW_NS + 60 * 10**9)
    with pytest.raises(FetchError, match="serial 3"):
        pull.run()
    installation.snapshots.clear()
    with pytest.raises(FetchError, match="503"):
        pull.run()
    installation.stop()
    wait_until(lambda: is_refused(pull))
    assert path.read_bytes() == before


def is_refused(pull: Pull) -> bool:
    try:
        pull.run()
    except FetchError as error:
        return "could not be had" in str(error)
    return False


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (500, b"oops", {}),
        (401, b"", {}),
        (404, b"", {}),
        (302, b"", {"Location": "http://127.0.0.1:1/"}),
        (200, b"<html>sign in</html>", {"Content-Type": "text/plain", "X-Feed-Serial": "9"}),
        (200, b"sign in", {"Content-Type": "text/html", "X-Feed-Serial": "9"}),
        (200, b"", {"X-Feed-Serial": "9"}),
        (200, b"\n \n", {"X-Feed-Serial": "9"}),
        (200, b"evil.example\n", {}),
        (200, b"evil.example\n", {"X-Feed-Serial": "9"}),
        (200, b"evil.exa", {"X-Feed-Serial": "9", "Content-Length": "13"}),
    ],
)
def test_a_wrong_answer_changes_nothing(tmp_path: Path, status: int, body: bytes, headers: dict[str, str]) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(LIST)
    with wrong_server(status, body, headers) as url, pytest.raises(FetchError):
        Pull(url, path).run()
    assert path.read_bytes() == LIST
    assert list(tmp_path.iterdir()) == [path]


def test_a_hook_runs_after_a_change_until_it_succeeds(installation: Installation, tmp_path: Path) -> None:
    path, wanted, ran = tmp_path / "list.txt", tmp_path / "wanted", tmp_path / "ran"
    pull = Pull(installation.url, path, hook=f"cp {wanted} {ran}")
    with pytest.raises(FetchError, match="hook failed"):
        pull.run()
    assert "first.example" in path.read_text()
    wanted.write_text("now")
    assert not pull.run()
    assert ran.read_text() == "now"
    ran.unlink()
    pull.run()
    assert not ran.exists()


@pytest.mark.parametrize("url", ["http://lists.example/feeds/x.txt", "ftp://127.0.0.1/x", "x", "file:///etc/passwd"])
def test_a_token_is_not_given_away(tmp_path: Path, url: str) -> None:
    with pytest.raises(FetchError):
        Pull(url, tmp_path / "list.txt", token="mc_000000000000_00")  # noqa: S106 - of nobody


def test_the_help_teaches_files_that_are_served() -> None:
    assert {"nftables", "ipset", "dnsmasq", "hosts", "squid", "suricata", "knot"} == set(RECIPES)
    assert [file for file, _path, _hook in RECIPES.values() if file not in FEEDS] == []
    assert all(f"{path} --hook '{hook}'" in EPILOG for _file, path, hook in RECIPES.values())


@pytest.mark.parametrize(
    "octets",
    [
        *NOT_HTTP.values(),
        b"HTTP/1.1 304 Not Modified\r\n\r\n",  # nobody asked whether it was
        b"HTTP/1.1 200 OK\r\nX-Feed-Serial: " + b"9" * 5000 + b"\r\nContent-Length: 2\r\n\r\na\n",
    ],
    ids=[*NOT_HTTP, "304 unasked", "a serial without end"],
)
def test_what_is_no_answer_changes_nothing(tmp_path: Path, octets: bytes) -> None:
    output = tmp_path / "list.txt"
    output.write_text("kept\n")
    with answering(octets) as url, pytest.raises(FetchError, match="stays as it is"):
        Pull(f"{url}/feeds/unsanctioned-domains.txt", output).run()
    assert output.read_text() == "kept\n"


@pytest.mark.parametrize("url", ["http://[x/a", "https://[::1", "http://127.0.0.1:x/a", "ftp://x/a", "https:///a", "x"])
def test_what_is_no_address_is_said(tmp_path: Path, url: str) -> None:
    with pytest.raises(FetchError, match="is no address"):
        Pull(url, tmp_path / "list.txt")


def test_a_file_is_replaced_by_way_of_no_link(tmp_path: Path) -> None:
    others, path = tmp_path / "others", tmp_path / "list"
    others.write_bytes(b"not ours")
    (tmp_path / f".list.{os.getpid()}.tmp").symlink_to(others)
    replace_whole(path, LIST)
    assert (path.read_bytes(), path.is_symlink(), others.read_bytes()) == (LIST, False, b"not ours")
