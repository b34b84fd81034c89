"""Settings: from the environment (`MOLECATCHER_STATE=...`), overridden by command line options."""

import socket
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from molecatcher.state import default_state
from rules.values.event import Origin
from sensor.attribution.leases import DEFAULT_FILES
from sensor.share import ALL, Share

MAX_WORKERS = 32
ONE_LINE = r"^[^\x00-\x1f\x7f]+$"
SYSTEM_POLICY = Path("/etc/molecatcher/policy.toml")
SYSTEM_ACCESS = Path("/etc/molecatcher/access.toml")


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
    catalogue_dir: Path | None = Field(
        default=None,
        description="your own additions to the catalogue (*.toml); none: catalogue.d in the state directory",
    )
    catalogue_key: Path | None = Field(
        default=None, description="public keys (PEM) whose catalogue updates are taken; none: no update is"
    )
    listen: str = Field(default="127.0.0.1:8484", description="address and port of the API and the page")
    access: Path | None = Field(
        default_factory=default_access, description="who may ask (TOML); none: whoever is on loopback, and tokens"
    )
    require_auth: bool = Field(default=False, description="trust nobody for being on loopback")
    api: str | None = Field(default=None, description="where a sensor sends events; none: into the database here")
    token_file: Path | None = Field(default=None, description="file with the token that a sensor sends them with")
    api_ca: Path | None = Field(
        default=None, description="the only authority (PEM) that a sensor trusts for that API; none: the system's"
    )
    feeds_listen: str | None = Field(
        default=None,
        description="where other hosts get lists, over TLS and with a token; none: nowhere",
    )
    tls_cert: Path | None = Field(default=None, description="certificate chain of that listener (PEM)")
    tls_key: Path | None = Field(default=None, description="its key (PEM); none: in the certificate's file")
    behind_minutes: int = Field(
        default=30, gt=0, description="so long after a list changed, who still has the older one is shown as behind"
    )
    zone_listen: str | None = Field(
        default=None,
        description="where resolvers get the list of names as a response policy zone (UDP and TCP); none: nowhere",
    )
    zone_name: str = Field(default="molecatcher.rpz", description="the name of that zone")
    zone_notify: tuple[str, ...] = Field(
        default=(), description="secondaries without a key that are told of new serials (ADDRESS or ADDRESS:PORT)"
    )
    interface: tuple[str, ...] = Field(
        default=(), description="where to capture (NAME or NETNS/NAME); none: chosen from routes"
    )
    netns: tuple[str, ...] = Field(default=(), description="other network namespaces to choose interfaces in")
    sensor_name: str | None = Field(
        default=None,
        max_length=128,
        pattern=ONE_LINE,
        description="what people call the sensor; none: this host's name",
    )
    site: str | None = Field(
        default=None, max_length=128, pattern=ONE_LINE, description="where the sensor stands, such as a branch office"
    )
    window_s: float = Field(default=60.0, gt=0, description="seconds in which repeats are counted on one event")
    update_s: float = Field(default=30.0, gt=0, description="seconds between updates of an event while its flow lives")
    spool_mib: int = Field(default=512, gt=0, description="how much may wait on disk while the database is away")
    evidence: bool = Field(default=True, description="keep the few packets that decided with each event")
    evidence_mib: int = Field(default=256, gt=0, description="how much of such packets the database holds")
    exception_approval: bool = Field(
        default=False, description="an exception or ingress made over the API waits until another person approves it"
    )
    output_networks: tuple[str, ...] = Field(
        default=(), description="private networks that outputs may speak to (CIDR); none: public addresses only"
    )
    keep_events_days: int = Field(
        default=180, ge=31, description="days an event is kept after it was last seen (lists look back 30)"
    )
    keep_findings_days: int = Field(
        default=400, ge=31, description="days a finding is kept after it was last seen, an exception after it ended"
    )
    keep_sensors_days: int = Field(default=90, ge=1, description="days a sensor is listed that reports no more")
    heartbeat_s: float = Field(default=2.0, gt=0, description="seconds between a sensor's reports of its own health")
    resolve_s: float = Field(default=300.0, gt=0, description="seconds between resolutions of the listed names")
    resolvers: tuple[str, ...] = Field(
        default=(), description="DNS servers to ask, all of them; their answers are united; none: the system's"
    )
    zone_checks: bool = Field(
        default=True, description="ask who serves the zones of names that agents may have dialled"
    )
    reverse_names: bool = Field(default=True, description="ask the DNS for names of forwarded sources without a lease")
    leases: tuple[Path, ...] = Field(default=DEFAULT_FILES, description="DHCP lease files: dnsmasq, ISC dhcpd, Kea")
    workers: int = Field(default=1, ge=1, le=MAX_WORKERS, description="processes that share the sensor's work")
    worker: int | None = Field(default=None, ge=0, description="which of them this is; the program sets it itself")
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
    def zone_questions(self) -> Path:
        """Return the file of names whose zone the sensor wants to know; each worker has its own."""
        return self.state / ("zone_questions.json" if self.worker is None else f"zone_questions-{self.worker}.json")

    @property
    def all_zone_questions(self) -> tuple[Path, ...]:
        """Return those files of all workers."""
        workers = range(self.workers) if self.workers > 1 else [None]
        return tuple(self.model_copy(update={"worker": worker}).zone_questions for worker in workers)

    @property
    def zone_answers(self) -> Path:
        """Return the file of what was answered."""
        return self.state / "zone_answers.json"

    @property
    def agent_addresses(self) -> Path:
        """Return the file of the addresses that names of agents resolve to."""
        return self.state / "agent_addresses.json"

    @property
    def api_rules(self) -> Path:
        """Return the file of the rules that the API handed out last, for a sensor whose database is elsewhere."""
        return self.state / "api_rules.json"

    @property
    def zone_keys(self) -> Path:
        """Return the directory of the keys for zone transfers."""
        return self.state / "zone_keys"

    def origin(self, sensor_id: str) -> Origin:
        """Return what events say of the sensor `sensor_id` here."""
        return Origin(sensor_id, self.sensor_name or socket.gethostname(), self.site)

    @property
    def share(self) -> Share:
        """Return what of the sensor's work is this process's."""
        return Share(self.worker, self.workers) if self.worker is not None else ALL

    @property
    def attribution_socket(self) -> Path:
        """Return where the process that may look into others' processes answers the sensor."""
        return self.state / "attribution.sock"

    @property
    def lookup_secret(self) -> Path:
        """Return the file that tells sensor and API how the program spells its own DNS questions."""
        return self.state / "lookup_secret"
