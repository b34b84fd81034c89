"""`molecatcher catalogue` as an operator uses it, with keys that openssl made."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from servers import in_background

from rules.catalogue.catalogue import load_catalogue

CATALOGUE = Path(__file__).parents[3] / "rules" / "catalogue"
SHIPPED = load_catalogue().version


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        private, public = folder / f"{name}.private.pem", folder / f"{name}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    (folder / "both.pem").write_text((folder / "theirs.pem").read_text() + (folder / "ours.pem").read_text())
    return folder


def catalogue(*argv: object, state: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "molecatcher", "catalogue", *map(str, argv)]
    command += ["--state", str(state)] if state else []
    settings = {name: value for name, value in os.environ.items() if not name.startswith("MOLECATCHER")}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=settings | environment)


@pytest.fixture(scope="module")
def newer(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed bundle of a newer version with one name more and a service less."""
    return make(tmp_path_factory.mktemp("newer"), keys, "2099.01.01")


def make(folder: Path, keys: Path, version: str) -> Path:
    source = folder / "rules"
    shutil.copytree(CATALOGUE / "services", source / "services")
    shared = (CATALOGUE / "shared_infrastructure.toml").read_text().replace(SHIPPED, version)
    (source / "shared_infrastructure.toml").write_text(shared)
    (source / "services" / "horizon.toml").unlink()
    ngrok = source / "services" / "ngrok.toml"
    ngrok.write_text(ngrok.read_text().replace('"lennut.com",', '"lennut.com", "=agents.example.org",'))
    bundle = folder / "catalogue.json"
    made = catalogue("sign", source, "--key", keys / "ours.private.pem", "--output", bundle)
    assert made.returncode == 0, made.stderr
    return bundle


def test_a_signed_update_is_shown_first_then_taken_then_rolled_back(newer: Path, keys: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    looked = catalogue("update", newer, "--key", keys / "ours.pem", "--dry-run", state=state)
    assert looked.returncode == 0, looked.stderr
    assert "+ =agents.example.org" in looked.stdout
    assert "- hrzn.run" in looked.stdout
    assert not state.exists()
    taken = catalogue("update", newer, state=state, MOLECATCHER_CATALOGUE_KEY=str(keys / "both.pem"))
    assert taken.returncode == 0, taken.stderr
    assert shown(state)["version"] == "2099.01.01"
    assert catalogue("rollback", state=state).returncode == 0
    assert shown(state)["version"] == SHIPPED


def shown(state: Path) -> dict[str, object]:
    said = catalogue("show", "--format", "json", state=state)
    assert said.returncode == 0, said.stderr
    return dict(json.loads(said.stdout))


def test_openssl_verifies_what_was_signed(newer: Path, keys: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw.sig"
    subprocess.run(["openssl", "base64", "-d", "-A", "-in", f"{newer}.sig", "-out", raw], check=True)
    argv: list[str | Path] = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        keys / "ours.pem",
        "-rawin",
        "-in",
        newer,
    ]
    subprocess.run([*argv, "-sigfile", raw], check=True, capture_output=True)
    assert catalogue("verify", newer, "--key", keys / "ours.pem").returncode == 0


def test_without_a_key_an_update_is_refused_and_it_is_said_how_to_give_one(newer: Path, tmp_path: Path) -> None:
    refused = catalogue("update", newer, state=tmp_path)
    assert refused.returncode == 1
    assert "--key FILE" in refused.stderr
    assert not list(tmp_path.iterdir())


def untouched(_bundle: Path) -> None:
    """Leave it as it is."""


def changed(bundle: Path) -> None:
    bundle.write_bytes(bundle.read_bytes().replace(b"agents.", b"agentz."))


def unsigned(bundle: Path) -> None:
    Path(f"{bundle}.sig").unlink()


def signed_with_rubbish(bundle: Path) -> None:
    Path(f"{bundle}.sig").write_text("?")


@pytest.mark.parametrize(
    ("damage", "key", "says"),
    [
        (untouched, "theirs.pem", "is not signed by a key"),
        (changed, "ours.pem", "is not signed by a key"),
        (unsigned, "ours.pem", "cannot be read"),
        (signed_with_rubbish, "ours.pem", "not base64"),
        (untouched, "ours.private.pem", "holds no public key"),
        (untouched, "missing.pem", "cannot be read"),
    ],
)
def test_what_is_not_signed_by_ones_own_key_is_refused(
    copy: Path, keys: Path, damage: Callable[[Path], None], key: str, says: str
) -> None:
    damage(copy)
    state = copy.parent / "state"
    refused = catalogue("update", copy, "--key", keys / key, state=state)
    assert refused.returncode == 1
    assert says in refused.stderr
    assert not state.exists()


@pytest.fixture
def copy(newer: Path, tmp_path: Path) -> Path:
    """A copy of the bundle and its signature."""
    bundle = tmp_path / "catalogue.json"
    for suffix in ("", ".sig"):
        shutil.copy(f"{newer}{suffix}", f"{bundle}{suffix}")
    return bundle


def test_an_older_version_is_taken_only_when_asked_for(keys: Path, tmp_path: Path) -> None:
    older = make(tmp_path, keys, "2020.01.01")
    state, key = tmp_path / "state", keys / "ours.pem"
    refused = catalogue("update", older, "--key", key, state=state)
    assert refused.returncode == 1
    assert "--allow-older" in refused.stderr
    assert catalogue("update", older, "--key", key, "--allow-older", state=state).returncode == 0
    assert shown(state)["version"] == "2020.01.01"


def test_an_update_that_the_policy_does_not_fit_is_refused(newer: Path, keys: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[services]\nhorizon = "ignore"\n')
    refused = catalogue("update", newer, "--key", keys / "ours.pem", "--policy", policy, state=tmp_path / "state")
    assert refused.returncode == 1
    assert "horizon" in refused.stderr


class Server(BaseHTTPRequestHandler):
    """Serves the files of a folder, and answers that no client should take."""

    folder = Path()

    def do_GET(self) -> None:
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", "http://192.0.2.1/catalogue.json")
            self.end_headers()
        elif self.path.startswith("/endless"):
            self.send_response(200)
            self.end_headers()
            for _ in range(200):
                self.wfile.write(bytes(64 * 1024))
        elif self.path.startswith("/cut"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(bytes(10))
        else:
            found = self.folder / self.path[1:]
            self.send_response(200 if found.exists() else 404)
            self.end_headers()
            self.wfile.write(found.read_bytes() if found.exists() else b"")

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def url(newer: Path) -> Iterator[str]:
    handler = type("Handler", (Server,), {"folder": newer.parent})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with in_background(server):
        yield f"http://127.0.0.1:{server.server_port}"


def test_an_update_is_fetched(url: str, keys: Path, tmp_path: Path) -> None:
    taken = catalogue("update", f"{url}/catalogue.json", "--key", keys / "ours.pem", state=tmp_path)
    assert taken.returncode == 0, taken.stderr
    assert shown(tmp_path)["version"] == "2099.01.01"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/away", "is not fetched: give an https address"),
        ("/endless", "octets: it is not what was looked for"),
        ("/cut", "cut off|could not be had"),
        ("/missing.json", "answered 404"),
    ],
)
def test_answers_that_are_no_catalogue_are_refused(url: str, keys: Path, tmp_path: Path, path: str, says: str) -> None:
    refused = catalogue("update", f"{url}{path}", "--key", keys / "ours.pem", state=tmp_path / "state")
    assert refused.returncode == 1
    assert any(part in refused.stderr for part in says.split("|")), refused.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("address", ["http://example.com/c.json", "ftp://127.0.0.1/c.json", "file:///etc/passwd"])
def test_only_https_is_fetched(keys: Path, tmp_path: Path, address: str) -> None:
    refused = catalogue("update", address, "--key", keys / "ours.pem", state=tmp_path / "state")
    assert refused.returncode == 1
    assert "give an https address" in refused.stderr


def test_entries_are_tested_before_they_are_added(tmp_path: Path) -> None:
    entry = tmp_path / "partner.toml"
    entry.write_text(
        'extends = "ngrok"\n[add]\nagent_domains = ["github.com"]\nnear_misses = ["connect.ngrok-agent.com"]\n'
    )
    tested = catalogue("test", entry, "--format", "json", state=tmp_path / "state")
    found = {(row["level"], row["key"]) for row in json.loads(tested.stdout)["problems"]}
    assert found == {("error", "agent name github.com"), ("error", "near_misses")}
    assert tested.returncode == 1
    entry.write_text('extends = "ngrok"\n[add]\nagent_domains = ["dial.partner.example"]\n')
    good = catalogue("test", entry, state=tmp_path / "state")
    assert (good.returncode, "1 service tested: 0 errors, 0 warnings\n" in good.stdout) == (0, True)
    entry.write_text("extends = 1\n")
    assert "partner.toml: extends" in catalogue("test", entry, state=tmp_path / "state").stderr


def test_additions_are_in_what_other_commands_use(tmp_path: Path) -> None:
    (tmp_path / "partner.toml").write_text('extends = "ngrok"\n[add]\nagent_domains = ["tunnels.example.com"]\n')
    capture = CATALOGUE.parents[1] / "pcaps" / "ngrok-py-sanctioned.pcap"
    argv = [sys.executable, "-m", "molecatcher", "replay", str(capture), "--format", "json"]
    settings = os.environ | {"MOLECATCHER_CATALOGUE_DIR": str(tmp_path), "MOLECATCHER_STATE": str(tmp_path / "state")}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True, env=settings)
    assert {json.loads(line)["verdict"] for line in done.stdout.splitlines()} == {"unsanctioned"}


def test_a_service_is_shown_and_a_wrong_name_helped(tmp_path: Path) -> None:
    assert "connect.ngrok-agent.com" in catalogue("show", "ngrok", state=tmp_path).stdout
    assert "did you mean ngrok?" in catalogue("show", "ngrk", state=tmp_path).stderr
