"""The rules of a sensor whose database is on another host: asked for there, checked, kept on disk for when it is away.

A policy file of the sensor's own is the base, what the API says is laid over it: where both speak of the same thing the
sensor's file wins.
"""

import hashlib
from pathlib import Path

import msgspec
import structlog

from db.errors import DbError
from molecatcher.background import BackgroundLoop
from molecatcher.catalogue.bundles import unpack
from molecatcher.catalogue.folder import CatalogueFolder
from molecatcher.catalogue.signatures import verify
from molecatcher.errors import CatalogueError, FetchError
from molecatcher.lists.fetch import replace_whole
from molecatcher.processes.api_client import ApiClient
from rules.catalogue.catalogue import build_catalogue
from rules.errors import InvalidCatalogue
from rules.policy.overlay import EMPTY, Overlay

log = structlog.get_logger()

ASK_S = 10.0
SIGNATURE = "X-Catalogue-Signature"


class _Catalogue(msgspec.Struct, frozen=True):
    version: str
    update: str | None = None


class _Rules(msgspec.Struct, frozen=True):
    policy: Overlay
    catalogue: _Catalogue


class CatalogueTaker:
    """Puts a catalogue that the API uses into force here, if a key of ours signed it."""

    def __init__(self, client: ApiClient, path: str, folder: CatalogueFolder, key: Path | None) -> None:
        self._client = client
        self._path = path
        self._folder = folder
        self._key = key
        self._refused = ""

    def take(self, digest: str | None) -> None:
        """Take the update whose SHA-256 is `digest`, unless it is here; one that was refused is not asked for again.

        Raises:
            DbError, CatalogueError, InvalidCatalogue: it could not be had, or is not to be trusted.
        """
        if digest is None or self._key is None or digest == self._refused:
            return
        if digest[:12] in self._folder.chosen().current:
            return
        answer = self._client.get(self._path)
        self._refused = digest
        if hashlib.sha256(answer.body).hexdigest() != digest:
            self._refused = ""  # it has just changed
            return
        signature = answer.headers.get(SIGNATURE, "").encode()
        verify(answer.body, signature, self._key, f"the catalogue of {self._client.url}")
        version = build_catalogue(unpack(answer.body, self._client.url)).version
        self._folder.install(answer.body, version, is_wanted=False, signature=signature)
        log.info("catalogue_taken", version=version, api=self._client.url)


class RemoteRules(BackgroundLoop):
    """Holds the rules that the API handed out last, and asks every ten seconds.

    `error` is why they cannot be renewed. What is kept on disk is what the API sent, octet for octet.
    """

    def __init__(
        self, client: ApiClient, sensor_id: str, kept: Path, catalogue: CatalogueTaker, every_s: float = ASK_S
    ) -> None:
        """Take up what was kept, and ask once; without either nothing but the sensor's own file holds."""
        super().__init__("rules", every_s)
        self.current: Overlay = EMPTY
        self.revision = ""
        self.error = ""
        self._wanted: str | None = None  # SHA-256 of the catalogue update that the API uses
        self._client = client
        self._path = f"/v1/sensors/{sensor_id}/rules"
        self._kept = kept
        self._catalogue = catalogue
        self._every_s = every_s
        self._restore()
        self.look()

    def __call__(self) -> Overlay:
        """Return the rules in force."""
        return self.current

    def look(self) -> bool:
        """Take up newer rules; tell whether the API answered as it should. Those in force stay where it did not."""
        try:
            answer = self._client.get(self._path, f'"{self.revision}"' if self.revision else "")
            if not answer.is_unchanged:
                self._take(answer.body, answer.headers.get("ETag", ""))
            self._say("")
        except (DbError, msgspec.MsgspecError, UnicodeDecodeError, FetchError, OSError) as error:  # OSError: full disk
            self._say(f"{error}; {'those of before stay' if self.revision else 'none were had yet'}")
            return False
        return True

    def step(self) -> float:
        """Ask for rules, and for the catalogue that they name."""
        if self.look():
            self._take_catalogue()
        return self._every_s

    def _take(self, body: bytes, etag: str) -> None:
        revision = hashlib.sha256(body).hexdigest()
        if etag.removeprefix("W/") != f'"{revision}"':  # weak: a proxy packed the answer
            raise FetchError(f"the rules of {self._client.url} are not whole: their entity tag is of something else")
        rules = msgspec.json.decode(body, type=_Rules)
        self._kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_whole(self._kept, body)
        self._put_in_force(rules, revision)
        log.info("rules_taken", revision=revision[:12], sanctioned=len(rules.policy.sanctions), api=self._client.url)

    def _put_in_force(self, rules: _Rules, revision: str) -> None:
        self.current, self.revision = rules.policy, revision
        self._wanted = rules.catalogue.update

    def _take_catalogue(self) -> None:
        try:
            self._catalogue.take(self._wanted)
        except (DbError, CatalogueError, InvalidCatalogue, OSError) as error:
            self._say(str(error))

    def _restore(self) -> None:
        try:
            body = self._kept.read_bytes()
            self._put_in_force(msgspec.json.decode(body, type=_Rules), hashlib.sha256(body).hexdigest())
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("kept_rules_unreadable", path=str(self._kept), error=str(error))

    def _say(self, error: str) -> None:
        if error and error != self.error:
            log.warning("rules_not_renewed", reason=error, revision=self.revision[:12])
        self.error = error
