"""The few packets that a detection rests on, as a pcapng file that any program opens.

Its own packets come first in the search, then those by which the same client was led to the address (the look-up) or
made itself known as an agent's (what it did beside it). Secrets in clear text are blanked (`redaction`).
"""

from sensor.capture.offline.pcapng_file import Commented, write_pcapng
from sensor.detection.detection import Detection
from sensor.detection.redaction import redact
from sensor.packet import Packet
from sensor.pipeline import Pipeline

MAX_PACKETS = 12
MAX_OCTETS = 24_576
MAX_NAMES = 8
MAX_COMMENT = 400


Chosen = list[tuple[Packet, str]]  # packets, and why each is there


def collect_evidence(pipeline: Pipeline, detection: Detection) -> bytes:
    """Return the file of the packets that `detection`, just made, rests on; b"" if none are kept."""
    return write_evidence(choose_packets(pipeline, detection))


def choose_packets(pipeline: Pipeline, detection: Detection) -> Chosen:
    """Return the packets that `detection`, just made, rests on: at most 12 and 24 KiB, none if none are kept."""
    observation, verdict = detection.observation, detection.verdict
    why = "; ".join([reason.detail for reason in verdict.reasons])[:MAX_COMMENT]
    rows = [(packet, why) for packet in pipeline.packets_of(observation)]
    if not rows:
        return []
    client = observation.five_tuple.src
    names = dict.fromkeys([*observation.told_names, *(row.name for row in observation.beside)])
    for name in list(names)[:MAX_NAMES]:
        said = f"beside it: what the same client did with {name}"
        rows += [(packet, said) for packet in pipeline.kept.of_name(client, name)]
    return _bounded(rows)


def write_evidence(chosen: Chosen) -> bytes:
    """Return the packets in the order of time, each with a comment that says why it is there; b"" if there are none.

    Cost: some 8 us a packet.
    """
    if not chosen:
        return b""
    rows = sorted(chosen, key=lambda row: row[0].ts_ns)
    blanked = redact([packet for packet, _ in rows])
    return write_pcapng([Commented(packet, row[1]) for packet, row in zip(blanked, rows, strict=True)])


def _bounded(rows: Chosen) -> Chosen:
    """Return the first rows that fit, none twice."""
    chosen: dict[int, tuple[Packet, str]] = {}
    octets = 0
    for packet, why in rows:
        if id(packet) in chosen:
            continue
        octets += len(packet.data)
        if len(chosen) == MAX_PACKETS or octets > MAX_OCTETS:
            break
        chosen[id(packet)] = packet, why
    return list(chosen.values())
