"""Sources and people under stable pseudonyms, for those who need no names and for exports that leave the house.

Addresses and findings' ids are encrypted with one AES block (deterministic: equal stays equal) and stay valid addresses
and ids, so filters and exports work with them and those who hold the key can go back. Names become keyed digests. An
id of a finding must not show either: it follows from the source's address, which could be found by trying them all.
"""

import base64
import hmac
import ipaddress
import uuid

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from db.values import Finding
from rules.values.event import Event, EventReason

MAPPED = 0xFFFF << 32
DIGEST_OCTETS = 10
HIDDEN = ("src_uid", "src_exe", "src_cmdline", "src_pid", "src_container")


class Pseudonyms:
    """Gives pseudonyms, the same ones for the same key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        # One block under a key of its own is a permutation, which is what is wanted; nothing longer is encrypted.
        self._addresses = Cipher(AES(self._derive(b"addresses")), ECB())  # noqa: S305
        self._ids = Cipher(AES(self._derive(b"findings")), ECB())  # noqa: S305

    def address(self, text: str) -> str:
        """Return the pseudonym of an address, which is an IPv6 address."""
        address = ipaddress.ip_address(text)
        number = int(address) | MAPPED if address.version == 4 else int(address)  # noqa: PLR2004 - the IP version
        return str(ipaddress.IPv6Address(_encrypt(self._addresses, number.to_bytes(16))))

    def reveal_address(self, text: str) -> str:
        """Return the address that a pseudonym stands for; what is none becomes an address that nobody has."""
        octets = ipaddress.IPv6Address(text).packed if ":" in text else bytes(16)
        address = ipaddress.IPv6Address(_decrypt(self._addresses, octets))
        return str(address.ipv4_mapped or address)

    def finding_id(self, text: str) -> str:
        """Return the pseudonym of a finding's id."""
        return str(uuid.UUID(bytes=_encrypt(self._ids, uuid.UUID(text).bytes)))

    def reveal_finding_id(self, text: str) -> str:
        """Return the id that a pseudonym stands for, an id of nothing where it is none."""
        try:
            return str(uuid.UUID(bytes=_decrypt(self._ids, uuid.UUID(text).bytes)))
        except ValueError:
            return ""

    def event(self, event: Event) -> Event:
        """Return the event without names: what tells who it was is a pseudonym, or left out.

        A sensor's name may be that of somebody's own machine.
        """
        real = {name: getattr(event, f"src_{name}") for name in ("ip", "host", "mac", "user")}
        shown = {name: self._name(name, text) for name, text in real.items() if text and name != "ip"}
        shown["ip"] = self.address(event.src_ip)
        changes: dict[str, object] = dict.fromkeys(HIDDEN) | {f"src_{name}": text for name, text in shown.items()}
        named = {real[name]: text for name, text in shown.items()}
        if event.sensor_name:
            changes["sensor_name"] = self._name("host", event.sensor_name)
        changes["reasons"] = tuple(
            EventReason(row.evidence, _replace(row.indicator, named), _replace(row.detail, named))
            for row in event.reasons
        )
        return msgspec.structs.replace(event, **changes)

    def finding(self, finding: Finding) -> Finding:
        """Return the finding under a pseudonym of its own, with that of its source."""
        return msgspec.structs.replace(
            finding, finding_id=self.finding_id(finding.finding_id), src_ip=self.address(finding.src_ip)
        )

    def _name(self, kind: str, value: str) -> str:
        digest = hmac.digest(self._key, f"{kind}\n{value}".encode(), "sha256")[:DIGEST_OCTETS]
        return f"{kind}-{base64.b32encode(digest).decode().lower()}"

    def _derive(self, purpose: bytes) -> bytes:
        return hmac.digest(self._key, b"pseudonyms of " + purpose, "sha256")[:16]


def _replace(text: str, named: dict[str, str]) -> str:
    for name, pseudonym in named.items():
        text = text.replace(name, pseudonym)
    return text


def _encrypt(cipher: "Cipher[ECB]", block: bytes) -> bytes:
    return cipher.encryptor().update(block)


def _decrypt(cipher: "Cipher[ECB]", block: bytes) -> bytes:
    return cipher.decryptor().update(block)
