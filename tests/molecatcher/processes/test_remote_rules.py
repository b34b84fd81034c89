"""A sensor's rules come from another host's API: checked, kept on disk, and older ones stay where that fails."""

import gzip
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from empty_store import empty_store
from free_ports import free_port
from installation import Installation, add_token
from servers import in_background, running

from api.access.config import AccessConfig
from api.app import create_app
from api.context import ApiContext, CatalogueUpdate
from api.serving.server import ApiServer, bind, parse_listen
from db.access.values import TokenScope
from db.workflow.values import ExceptionStatus, StoredSanction
from molecatcher.catalogue.bundles import pack
from molecatcher.catalogue.folder import CatalogueFolder
from molecatcher.catalogue.signatures import sign
from molecatcher.errors import FetchError
from molecatcher.live_rules import LiveRules
from molecatcher.processes.api_client import ApiClient
from molecatcher.processes.remote_rules import CatalogueTaker, RemoteRules
from rules.catalogue.catalogue import load_catalogue, read_files
from rules.policy.overlay import Overlay
from rules.policy.reader import parse_policy

SENSOR = "sensor-1"
FILE = '[[sanctioned]]\ndomain = "file.example"\nservice = "ngrok"\nowner = "o"\nreason = "{}"\n'


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with empty_store(tmp_path / "central.db") as store:
        yield Installation(store, tmp_path / "central.db")


@contextmanager
def serving(context: ApiContext, port: int) -> Iterator[None]:
    server = ApiServer(create_app(context, AccessConfig(require=True)), bind(parse_listen(f"127.0.0.1:{port}")))
    with running(server):
        yield


def client_of(installation: Installation, folder: Path, port: int) -> ApiClient:
    (folder / "token").write_text(add_token(installation.store, scopes=(TokenScope.EVENTS_WRITE,), sensor_id=SENSOR))
    return ApiClient(f"http://127.0.0.1:{port}", folder / "token")


def follow(client: ApiClient, folder: Path, key: Path | None = None) -> RemoteRules:
    taker = CatalogueTaker(client, f"/v1/sensors/{SENSOR}/catalogue", CatalogueFolder(folder), key)
    return RemoteRules(client, SENSOR, folder / "api_rules.json", taker)


def sanction(installation: Installation, domain: str) -> None:
    who = {"owner": "o", "reason": "over the API", "requested_by": "alice", "requested_at_ns": 0}
    status = ExceptionStatus.ACTIVE
    made = StoredSanction(sanction_id=domain, domain=domain, service="ngrok", status=status, **who)  # type: ignore[arg-type]
    assert installation.store.policy.add_sanction(made)


def test_rules_are_taken_kept_and_outlive_the_api(installation: Installation, tmp_path: Path) -> None:
    port, folder = free_port(), tmp_path / "state"
    client = client_of(installation, tmp_path, port)
    lost = follow(client, folder)
    assert "none were had yet" in lost.error
    assert lost().sanctions == ()
    sanction(installation, "tunnels.example.com")
    with serving(installation.context(), port):
        rules = follow(client, folder)
        assert (rules.error, [row[0] for row in rules().sanctions]) == ("", ["tunnels.example.com"])
        first, revision = rules(), rules.revision
        assert rules.look()
        assert rules() is first
        sanction(installation, "other.example.com")
        assert rules.look()
        assert rules.revision not in {revision, ""}
    restarted = follow(client, folder)
    assert [row[0] for row in restarted().sanctions] == ["other.example.com", "tunnels.example.com"]
    assert restarted.revision == rules.revision
    assert "those of before stay" in restarted.error
    assert hashlib.sha256((folder / "api_rules.json").read_bytes()).hexdigest() == rules.revision


def test_what_is_not_whole_is_not_taken(installation: Installation, tmp_path: Path) -> None:
    port, folder = free_port(), tmp_path / "state"
    client = client_of(installation, tmp_path, port)
    with serving(installation.context(), port):
        rules = follow(client, folder)
        before = rules.revision
        wrong = {b'{"policy": {}': "", b"<html>": '"x"', b"{}": f'"{hashlib.sha256(b"{}").hexdigest()}"'}
        for body, etag in wrong.items():
            with pytest.raises((FetchError, msgspec.MsgspecError)):
                rules._take(body, etag)
        assert rules.revision == before
    (folder / "api_rules.json").write_text("half a fi")
    assert follow(client, folder).revision == ""


def test_rules_that_cannot_be_kept_are_said_and_asked_for_again(installation: Installation, tmp_path: Path) -> None:
    port = free_port()
    client = client_of(installation, tmp_path, port)
    taker = CatalogueTaker(client, "/", CatalogueFolder(tmp_path), None)
    with serving(installation.context(), port):
        kept = tmp_path / "kept" / "api_rules.json"
        rules = RemoteRules(client, SENSOR, kept, taker)
        assert rules.error == ""
        sanction(installation, "tunnels.example.com")
        kept.unlink()
        kept.parent.rmdir()
        kept.parent.write_text("a file where the folder should be")
        assert not rules.look()
        assert "those of before stay" in rules.error
        kept.parent.unlink()
        assert rules.look()
    assert [row[0] for row in rules().sanctions] == ["tunnels.example.com"]


def test_the_sensors_own_file_wins(installation: Installation, tmp_path: Path) -> None:
    port, policy = free_port(), tmp_path / "policy.toml"
    policy.write_text(FILE.format("of the sensor"))
    catalogue = load_catalogue()
    installation.file_policy = parse_policy(FILE.format("of the API"), "policy.toml", catalogue, 0)
    sanction(installation, "tunnels.example.com")
    with serving(installation.context(), port):
        live = LiveRules(catalogue, policy, lambda: installation.now_ns)
        live.follow(follow(client_of(installation, tmp_path, port), tmp_path / "state"))
    found = {row.domain: row.reason for row in live().policy.sanctions}
    assert found == {"file.example": "of the sensor", "tunnels.example.com": "over the API"}


def test_a_catalogue_is_taken_if_a_key_of_ours_signed_it(installation: Installation, tmp_path: Path) -> None:
    port, folder = free_port(), tmp_path / "state"
    make_keys(tmp_path)
    files = read_files()
    name = next(name for name in files if "version" in files[name] and "generated" in files[name])
    files[name] = files[name].replace(load_catalogue().version, "2099.01.01", 1)
    octets = pack(files)
    good = CatalogueUpdate(octets, sign(octets, tmp_path / "private.pem"))
    client = client_of(installation, tmp_path, port)
    for update, version in ((CatalogueUpdate(octets, b"AAAA"), load_catalogue().version), (good, "2099.01.01")):
        context = with_update(installation.context(), update)
        with serving(context, port):
            rules = follow(client, folder, tmp_path / "public.pem")
            rules._take_catalogue()
        assert CatalogueFolder(folder).load().version == version
        assert bool(rules.error) == (update is not good)
    assert CatalogueFolder(folder).signed_update() == (octets, good.signature.strip())


def make_keys(folder: Path) -> None:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "private.pem").write_bytes(private)
    (folder / "public.pem").write_bytes(public)


def with_update(context: ApiContext, update: CatalogueUpdate) -> ApiContext:
    fields = {name: getattr(context, name) for name in context.__slots__}
    return ApiContext(**(fields | {"catalogue_update": lambda: update}))


class _ThroughProxy(BaseHTTPRequestHandler):
    """Answers as a proxy that packs what passes, which makes its entity tag a weak one."""

    def do_GET(self) -> None:
        body = msgspec.json.encode({"policy": Overlay(), "catalogue": {"version": "1"}})
        self.send_response(200)
        self.send_header("ETag", f'W/"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(gzip.compress(body))

    def log_message(self, *_: object) -> None: ...


def test_rules_come_through_a_proxy_that_packs_them(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _ThroughProxy)
    with in_background(server):
        rules = follow(ApiClient(f"http://127.0.0.1:{server.server_port}", "token"), tmp_path)
    assert (rules.error, bool(rules.revision)) == ("", True)
