"""The certificate of the listener that other hosts reach, taken up anew when its files change."""

import ssl
from pathlib import Path

import structlog

from api.errors import UnusableCertificate

log = structlog.get_logger("api")


class Certificate:
    """A certificate chain and its key in PEM files, and the TLS settings (1.2 and later) that use them."""

    def __init__(self, chain: Path, key: Path | None, client_ca: Path | None = None) -> None:
        """Read the files; without `key` the chain's file holds it. Clients may show certificates of `client_ca`.

        Raises:
            UnusableCertificate: they cannot be read, or do not belong together.
        """
        self._chain = chain
        self._key = key
        self._client_ca = client_ca
        self._seen = self._stamp()
        self.context = self._load()

    def poll(self) -> bool:
        """Take up files that changed, for new connections; tell whether it did. Unusable ones leave the old in use."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            self._load()  # half a pair must not get into the context that is in use
            self.context.load_cert_chain(self._chain, self._key)
        except (OSError, UnusableCertificate) as error:
            log.warning("certificate_not_taken", reason=str(error))
            return False
        log.info("certificate_taken", chain=str(self._chain))
        return True

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._chain, self._key, password="")  # an encrypted key must not ask a terminal
        except (OSError, ValueError) as error:
            raise UnusableCertificate(
                f"the certificate {self._chain} cannot be used ({error}): give PEM files, the key without a password"
            ) from None
        if self._client_ca is not None:
            _trust_clients(context, self._client_ca)
        return context

    def _stamp(self) -> tuple[int, ...]:
        """Return what tells the files from later ones; nothing while one is missing."""
        try:
            return tuple(path.stat().st_mtime_ns for path in (self._chain, self._key or self._chain))
        except OSError:
            return ()


def _trust_clients(context: ssl.SSLContext, authority: Path) -> None:
    """Ask clients for a certificate, and check one that is shown; whether one is needed, the gate knows."""
    try:
        context.load_verify_locations(authority)
    except (OSError, ValueError) as error:
        raise UnusableCertificate(f"the authority of clients {authority} cannot be used ({error}): give PEM") from None
    context.verify_mode = ssl.CERT_OPTIONAL
