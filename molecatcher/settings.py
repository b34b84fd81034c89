"""Settings: from the environment (`MOLECATCHER_STATE=...`), overridden by command line options."""

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from sensor.attribution.leases import DEFAULT_FILES

SYSTEM_STATE = Path("/var/lib/molecatcher")
SYSTEM_POLICY = Path("/etc/molecatcher/policy.toml")
SYSTEM_ACCESS = Path("/etc/molecatcher/access.toml")


def default_state() -> Path:
    """Return the state directory: the system's for root and for services, the user's own otherwise."""
    if os.geteuid() == 0:
        return SYSTEM_STATE
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "molecatcher"


def default_policy() -> Path | None:
    """Return the system's policy file when there is one."""
    return SYSTEM_POLICY if SYSTEM_POLICY.exists() else None


def default_access() -> Path | None:
    """Return the system's access file when there is one."""
    return SYSTEM_ACCESS if SYSTEM_ACCESS.exists() else None


class Settings(BaseSettings):
    """What a process runs with; `molecatcher check` prints it."""

    model_config = SettingsConfigDict(env_prefix="MOLECATCHER_", frozen=True)

    state: Path = Field(default_factory=default_state, description="where database, spool and secrets live")
    policy: Path | None = Field(
        default_factory=default_policy, description="policy file (TOML); none: nothing is sanctioned"
    )
    listen: str = Field(default="127.0.0.1:8484", description="address and port of the API and the page")
    access: Path | None = Field(
        default_factory=default_access, description="who may ask (TOML); none: whoever is on loopback, and tokens"
    )
    require_auth: bool = Field(default=False, description="trust nobody for being on loopback")
    feeds_listen: str | None = Field(
        default=None,
        description="where other hosts get lists, over TLS and with a token; none: nowhere",
    )
    tls_cert: Path | None = Field(default=None, description="certificate chain of that listener (PEM)")
    tls_key: Path | None = Field(default=None, description="its key (PEM); none: in the certificate's file")
    interface: tuple[str, ...] = Field(
        default=(), description="where to capture (NAME or NETNS/NAME); none: chosen from routes"
    )
    netns: tuple[str, ...] = Field(default=(), description="other network namespaces to choose interfaces in")
    window_s: float = Field(default=60.0, gt=0, description="seconds in which repeats are counted on one event")
    update_s: float = Field(default=30.0, gt=0, description="seconds between updates of an event while its flow lives")
    spool_mib: int = Field(default=512, gt=0, description="how much may wait on disk while the database is away")
    evidence: bool = Field(default=True, description="keep the few packets that decided with each event")
    evidence_mib: int = Field(default=256, gt=0, description="how much of such packets the database holds")
    heartbeat_s: float = Field(default=2.0, gt=0, description="seconds between a sensor's reports of its own health")
    resolve_s: float = Field(default=300.0, gt=0, description="seconds between resolutions of the listed names")
    resolvers: tuple[str, ...] = Field(default=(), description="DNS servers to ask; none: the system's")
    leases: tuple[Path, ...] = Field(default=DEFAULT_FILES, description="DHCP lease files: dnsmasq, ISC dhcpd, Kea")
    user: str = Field(default="molecatcher", description="who runs the program when root starts it")

    @property
    def database(self) -> Path:
        """Return the path of the SQLite database."""
        return self.state / "molecatcher.db"

    @property
    def spool(self) -> Path:
        """Return the directory of the spool."""
        return self.state / "spool"

    @property
    def lists(self) -> Path:
        """Return the directory of the lists in force."""
        return self.state / "lists"

    @property
    def attribution_socket(self) -> Path:
        """Return where the process that may look into others' processes answers the sensor."""
        return self.state / "attribution.sock"

    @property
    def lookup_secret(self) -> Path:
        """Return the file that tells sensor and API how the program spells its own DNS questions."""
        return self.state / "lookup_secret"
