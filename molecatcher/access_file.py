"""The access configuration as the settings name it."""

import msgspec

from api.access.config import AccessConfig, parse_access
from molecatcher.errors import SetupError
from molecatcher.settings import Settings


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
