"""The documents of sensors: what they say of themselves, and the rules that they take."""

from datetime import datetime

from pydantic import Field

from api.policy.sensor_rules import RulesState
from api.schemas.document import TIME, Document
from rules.values.sensor_status import SensorState


class SensorDocument(Document):
    """A sensor's heartbeat; counters are totals since `started_at`."""

    sensor_id: str = Field(examples=["gateway-1"])
    state: SensorState = Field(description="The worst that is true of it now", examples=["watching"])
    version: str = Field(examples=["0.1.0"])
    hostname: str = Field(examples=["gateway.example.com"])
    name: str = Field(description="What people call it: its host's name unless it is set", examples=["gateway-1"])
    site: str = Field(description="Where it stands, as its settings say", examples=["Berlin"])
    started_at: datetime = Field(examples=[TIME])
    heartbeat: datetime = Field(examples=[TIME])
    interfaces: list[str] = Field(description="Empty while it waits for a default route", examples=[["eth0"]])
    engine: str
    engine_reason: str
    packets: int = Field(examples=[1_234_567])
    octets: int = Field(examples=[987_654_321])
    kernel_drops: int = Field(description="Packets that the kernel had no room for", examples=[0])
    interface_drops: dict[str, int] = Field(
        description="The same by interface, since each was opened", examples=[{"eth0": 0}]
    )
    shed: int = Field(description="Packets that the program gave up", examples=[0])
    lost_last_minute: int = Field(description="Drops and shed packets of the minute before", examples=[0])
    buffer_fill: float = Field(
        ge=0, le=1, description="Share of the fullest ring or receive queue that waits to be read", examples=[0.015625]
    )
    buffer_fill_peak: float = Field(
        ge=0, le=1, description="The highest share since the heartbeat before; at 1 the kernel drops", examples=[0.0625]
    )
    lag_ms: int = Field(
        description="Age of the newest packet when it had been handled, the highest since the heartbeat before",
        examples=[52],
    )
    malformed: int = Field(examples=[0])
    faults: int = Field(
        description="Packets and names that an error kept the program from judging; every packet was read all the same",
        examples=[0],
    )
    flows: int = Field(description="Flows that were begun", examples=[310])
    flow_table_flows: int = Field(description="Flows in the table now", examples=[120])
    flow_table_size: int = Field(examples=[131_072])
    flow_map_opened: int = Field(description="Flows that the filter began to follow", examples=[340])
    flow_map_size: int = Field(description="Places in the filter's map, 0 where nothing is cut off", examples=[131_072])
    flow_map_turnover: float = Field(
        description="Share of those places that new flows took since the heartbeat before", examples=[0.0001]
    )
    evicted: dict[str, int] = Field(description="Entries that left a full table", examples=[{"flows": 0, "dns": 0}])
    observations: int = Field(examples=[4021])
    unknown: int = Field(examples=[4000])
    events: int = Field(examples=[21])
    spool_events: int = Field(description="Events that wait on disk for the database", examples=[0])
    spool_octets: int = Field(description="The same in octets", examples=[0])
    pending_events: int = Field(description="Events that wait in memory for the disk", examples=[0])
    delivery_lag_ms: int = Field(description="How long the oldest event has waited", examples=[0])
    spool_overflow: int = Field(description="Events lost because the spool was full", examples=[0])
    copies: int = Field(description="Packets that another interface had shown already", examples=[0])
    policy_error: str = Field(examples=[""])
    catalogue_version: str = Field(description="Of the catalogue that it uses", examples=["2026.11.23"])
    is_remote: bool = Field(description="It takes its rules from this API")
    rules_revision: str = Field(description="Of those that it took last: their entity tag", examples=[""])
    rules_state: RulesState = Field(description="`behind`: it uses older rules than those in force for a minute")
    workers: int = Field(description="Processes that share its work; what is counted is their sum", examples=[1])


class CatalogueChoice(Document):
    """The catalogue in force: its version, and SHA-256 of the update that it comes from, if any."""

    version: str = Field(examples=["2026.11.23"])
    update: str | None = Field(examples=[None])


class SensorRulesDocument(Document):
    """What a sensor goes by: the policy as tables, each with its id, and which catalogue."""

    policy: dict[str, object] = Field(examples=[{"sanctions": [], "exceptions": [], "decisions": []}])
    catalogue: CatalogueChoice


class SensorList(Document):
    """Every sensor that ever reported."""

    items: list[SensorDocument]
