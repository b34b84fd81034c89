"""Makes a host a sensor of another host's API: its own token, whom it trusts, and whether that works."""

import os
import re
import shlex
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import dns.exception
import dns.resolver
import msgspec

from db.errors import StoreUnavailable
from molecatcher.catalogue.folder import CatalogueFolder
from molecatcher.errors import FetchError, SetupError
from molecatcher.lists.fetch import replace_whole
from molecatcher.processes.api_client import ApiClient, require_safe
from molecatcher.processes.remote_rules import CatalogueTaker, RemoteRules
from molecatcher.processes.sensor_parts import kept_sensor_id
from molecatcher.settings import Settings
from molecatcher.state import give, make_service_state

TRIES, PAUSE_S = 10, 0.5  # the API takes a second to know a token that it has just made
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
# Root writes into a folder of the service's user, who could leave a link there.
_OWN_FILE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
PROGRAM = "/opt/molecatcher/.venv/bin/molecatcher"


class _Enrolled(msgspec.Struct, frozen=True):
    sensor_id: str
    token: str


class Enrolment:
    """One host and one API. `exchange` uses the enrolment token up; `check` may be repeated."""

    def __init__(self, settings: Settings, ca: Path | None) -> None:
        """Make the state directory, and take the authority into it: it must be there when the API is asked again.

        Raises:
            SetupError: the address is no https address, or a file cannot be used.
        """
        self.url = settings.api or ""
        require_safe(self.url, "URL")
        self._settings = settings
        make_service_state(settings.state)
        self.sensor_id = kept_sensor_id(settings)
        self.token_file = settings.state / "api_token"
        self.ca = settings.state / "api_ca.pem" if ca is not None else None
        give(settings.state / "sensor_id", settings.state)
        if ca is not None and self.ca is not None:
            self._keep(self.ca, _certificates(ca))

    def exchange(self, enrolment_token: str) -> None:
        """Have the API exchange the enrolment token for this sensor's own, and keep that.

        Raises:
            SetupError: the API refused it, or cannot be reached, or the token cannot be kept.
        """
        body = msgspec.json.encode({"sensor_id": self.sensor_id, "hostname": socket.gethostname()})
        try:
            answer = ApiClient(self.url, enrolment_token, self.ca).post("/v1/sensors:enrol", body, "application/json")
            enrolled = msgspec.json.decode(answer, type=_Enrolled)
        except (StoreUnavailable, msgspec.MsgspecError) as error:
            raise SetupError(f"not enrolled: {error}; an enrolment token is good once, for an hour") from None
        self._keep(self.token_file, enrolled.token.encode("ascii") + b"\n")

    def check(self) -> int:
        """Ask the API for the rules of this sensor, keep them, and return how many ingresses they sanction.

        Raises:
            SetupError: the API does not answer this sensor.
        """
        client = ApiClient(self.url, self.token_file, self.ca)
        self._await(client)
        catalogue = CatalogueTaker(client, "", CatalogueFolder(self._settings.state), None)
        rules = RemoteRules(client, self.sensor_id, self._settings.api_rules, catalogue)
        if rules.error:
            raise SetupError(f"enrolled, but the rules of this sensor cannot be had: {rules.error}")
        give(self._settings.api_rules, self._settings.state)
        return len(rules().sanctions)

    def _await(self, client: ApiClient) -> None:
        """Return when the API knows the token that it has just made."""
        for left in reversed(range(TRIES)):
            try:
                client.get(f"/v1/sensors/{self.sensor_id}/rules")
            except StoreUnavailable as error:
                if not left:
                    raise SetupError(f"enrolled, but the API does not answer this sensor: {error}") from None
                time.sleep(PAUSE_S)
            else:
                return

    def options(self) -> str:
        """Return the options of `molecatcher sensor`."""
        words = ["--state", str(self._settings.state), "--api", self.url, "--token-file", str(self.token_file)]
        known = {"--api-ca": self.ca, "--sensor-name": self._settings.sensor_name, "--site": self._settings.site}
        return shlex.join([*words, *(word for name, value in known.items() if value for word in (name, str(value)))])

    def unit_settings(self) -> str:
        """Return the drop-in for `molecatcher-sensor.service`, which speaks to nobody unless it is told to."""
        allowed = " ".join(["localhost", *self._peers()])
        command = f"{PROGRAM} sensor {self.options()}"
        return (
            f"# {self.url} has the rules and takes the events of this sensor.\n[Service]\nExecStart=\n"
            f"ExecStart={command.replace('%', '%%').replace('$', '$$')}\nIPAddressAllow={allowed}\n"
        )

    def _peers(self) -> list[str]:
        """Return the addresses of the API and of the resolvers, each once."""
        parts = urlsplit(self.url)
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
        try:
            resolvers = [str(address) for address in dns.resolver.Resolver().nameservers]
        except dns.exception.DNSException:
            resolvers = []
        return sorted({str(row[4][0]) for row in found} | set(resolvers))

    def _keep(self, path: Path, content: bytes) -> None:
        """Write a file that only its owner reads; it is the owner's of the state directory."""
        try:
            descriptor = os.open(path, _OWN_FILE, 0o600)
            os.fchmod(descriptor, 0o600)
            os.close(descriptor)
            replace_whole(path, content)
            give(path, self._settings.state)
        except (OSError, FetchError) as error:
            raise SetupError(f"{path} cannot be written: {error}; run this as root, or give --state") from None


def _certificates(path: Path) -> bytes:
    """Return the certificates in a PEM file, and nothing else that is in it."""
    try:
        found = _CERTIFICATE.findall(path.read_bytes())
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}; give the authority's file with --ca") from None
    if not found:
        raise SetupError(f"{path} holds no certificate: give the authority's in PEM with --ca")
    return b"\n".join(found) + b"\n"
