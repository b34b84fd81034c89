"""The access configuration as the settings name it, at the start and while the program runs."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from api.access.audit import access_file_entry, keep
from api.access.config import AccessConfig, parse_access
from api.errors import ApiError
from api.serving.server import Reach, is_loopback_address, parse_listen
from api.serving.tls import Certificate
from db.access.audit import digest_of
from db.access.values import AuditEntry
from db.errors import DbError
from db.store import Store
from molecatcher.errors import SetupError
from molecatcher.live_rules import stamp_of
from molecatcher.settings import Settings

log = structlog.get_logger()


def plan_listening(settings: Settings) -> tuple[AccessConfig, Reach, Certificate | None]:
    """Return who may ask, who reaches the listener of API and page, and the certificate that it shows.

    Raises:
        SetupError, ApiError: it would answer in the clear or without knowing whom, or cannot be.
    """
    access = load_access(settings)
    if is_loopback_address(parse_listen(settings.listen, only_loopback=False).host):
        return access, Reach.LOOPBACK, None
    if not access.all_hosts:
        raise SetupError(
            f"to listen on {settings.listen}, name the server: hosts = [...] or public_url in the --access file"
        )
    access = msgspec.structs.replace(access, require=True)
    if settings.tls_cert is not None:
        client_ca = Path(access.tls.client_ca) if access.tls else None
        return access, Reach.EVERYTHING, Certificate(settings.tls_cert, settings.tls_key, client_ca)
    if access.proxy is None:
        advice = "give --tls-cert, or name the proxy in front of it: [proxy] in the --access file (docs/security.md)"
        raise SetupError(f"nothing is answered in the clear on {settings.listen}: {advice}")
    return access, Reach.EVERYTHING, None


class LiveAccess:
    """Follows the access file: what changed is put in force while everything runs; what cannot be used is not.

    `error` is why the newest file was not taken. Ports, certificates' paths and the authority of machines stay as they
    were at the start; a certificate itself is taken up anew by `api.serving.tls`.
    """

    def __init__(
        self, settings: Settings, config: AccessConfig, change: Callable[[AccessConfig], None], store: Store
    ) -> None:
        self.error = ""
        self._settings = settings
        self._config = config
        self._change = change
        self._store = store
        self._stamp = stamp_of(settings.access)

    def poll(self) -> bool:
        """Take up the file if it changed since the last look; tell whether another one is in force. Costs a `stat`."""
        return stamp_of(self._settings.access) != self._stamp and self.reload()

    def reload(self) -> bool:
        """Read the file again; tell whether another one is in force now."""
        stamp = stamp_of(self._settings.access)
        try:
            config = self._read()
            if config != self._config:
                keep(self._store, self._entry(config))
        except (SetupError, ApiError) as error:
            self._stamp, self.error = stamp, str(error)
            log.warning("access_refused", error=self.error)
            return False
        except DbError as error:  # what cannot be noted does not happen; the next look tries again
            self.error = f"the change cannot be noted in the audit log: {error}"
            return False
        self._stamp, self.error = stamp, ""
        if config == self._config:
            return False
        self._config = config
        self._change(config)
        log.info("access_loaded", path=str(self._settings.access))
        return True

    def _entry(self, config: AccessConfig) -> AuditEntry:
        """Return what the audit log is told."""
        entry = access_file_entry(time.time_ns(), "access.update", str(self._settings.access))
        return msgspec.structs.replace(entry, before=digest_of(self._config), after=digest_of(config))

    def _read(self) -> AccessConfig:
        """Return what the file says, if it can be put in force without a restart.

        Raises:
            SetupError, ApiError: it cannot.
        """
        path, stamp = self._settings.access, stamp_of(self._settings.access)
        if stamp is not None and not stamp.octets and self._config != AccessConfig():
            raise SetupError(f"{path} is empty, so it may be half written: write a comment into it if that is meant")
        config, _, _ = plan_listening(self._settings)
        before = self._config.tls.client_ca if self._config.tls else None
        if (config.tls.client_ca if config.tls else None) != before:
            raise SetupError(f"{path}: [tls] client_ca cannot change while the program runs: restart it")
        return config


def load_access(settings: Settings) -> AccessConfig:
    """Return who may ask; `--require-auth` goes before what the file says.

    Raises:
        SetupError: the file cannot be read.
        UnusableAccessConfig: it says what cannot be.
    """
    config = AccessConfig()
    if settings.access is not None:
        try:
            text = settings.access.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SetupError(f"{settings.access} cannot be read ({error}): give a readable file, --access") from error
        config = parse_access(text, str(settings.access))
    return msgspec.structs.replace(config, require=True) if settings.require_auth else config
