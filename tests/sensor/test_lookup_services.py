"""Vendors' look-ups of reputation are no DNS tunnels, as far as the catalogue in force knows the vendors."""

import base64
import hashlib

from frames import MS, S, ask

from rules.catalogue.catalogue import SHARED_FILE, Catalogue, build_catalogue, load_catalogue, read_files
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from sensor.detection.detect import Detector
from sensor.packet import Packet
from sensor.pipeline import Pipeline

VENDOR = "sophosxl.net"


def look_ups(start_ns: int) -> list[Packet]:
    """Forty in a row, of files by their hashes."""
    names = [base64.b32encode(hashlib.sha512(b"%d" % number).digest()).decode().lower() for number in range(40)]
    return [
        ask(start_ns + number * MS, f"{name[:50]}.{name[50:95]}.i.03.s.{VENDOR}", port=2000 + number)
        for number, name in enumerate(names)
    ]


def without_the_vendor() -> Catalogue:
    files = read_files()
    return build_catalogue({**files, SHARED_FILE: files[SHARED_FILE].replace(VENDOR, "lookups.example")})


def categories(detector: Detector, start_ns: int) -> set[str | None]:
    found = detector.feed(look_ups(start_ns)) + detector.advance(start_ns + 60 * S)
    return {row.verdict.category for row in found}


def test_the_catalogue_in_force_says_whose_look_ups_are_spared() -> None:
    rules = Ruleset(load_catalogue(), Policy())
    detector = Detector(Pipeline(), lambda: rules)
    assert categories(detector, S) == set()
    rules = Ruleset(without_the_vendor(), Policy())
    assert categories(detector, 200 * S) == {"dns-tunnel"}
    rules = Ruleset(load_catalogue(), Policy())
    assert categories(Detector(Pipeline(), lambda: rules), S) == set()
