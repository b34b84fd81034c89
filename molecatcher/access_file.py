"""The access configuration as the settings name it."""

from pathlib import Path

import msgspec

from api.access.config import AccessConfig, parse_access
from api.server import Reach, is_loopback_address, parse_listen
from api.tls import Certificate
from molecatcher.errors import SetupError
from molecatcher.settings import Settings


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
