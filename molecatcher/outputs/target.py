"""Where an output may connect to: the name is resolved once, judged, and the very address that was judged is used.

So a name cannot be made to point inside after it was looked at (DNS rebinding), and nobody who may make outputs reaches
what only this host can reach: private, loopback and link-local networks are refused unless the operator allowed them.
"""

import ipaddress
import socket
from collections.abc import Sequence

from molecatcher.outputs.errors import DeliveryFailed, RefusedTarget

CONNECT_TIMEOUT_S = 10.0
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TargetGuard:
    """Connects to targets that are public, or lie in `allowed` networks."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def connect(self, host: str, port: int, *, is_encrypted: bool) -> socket.socket:
        """Return a connection to `host`; one that is not encrypted goes to allowed networks only.

        Raises:
            RefusedTarget: no address of the name may be spoken to.
            DeliveryFailed: the name has no address, or nothing answers there.
        """
        permitted = [address for address in self._resolve(host, port) if self._may_use(address, is_encrypted)]
        if not permitted:
            advice = "allow it with MOLECATCHER_OUTPUT_NETWORKS" if is_encrypted else "use https, or allow it there"
            raise RefusedTarget(f"{host} has only addresses that outputs may not speak to: {advice}")
        failure: OSError | None = None
        for address in permitted:
            try:
                return socket.create_connection((str(address), port), CONNECT_TIMEOUT_S)
            except OSError as error:
                failure = error
        raise DeliveryFailed(f"{host} port {port} cannot be reached: {failure}")

    def require(self, address: object) -> None:
        """Return when a connection to `address`, as sockets take it, may be made; whether it encrypts is not known.

        Raises:
            PermissionError: outputs may not speak to it, or it is not that of another host.
        """
        host = str(address[0]).partition("%")[0] if isinstance(address, tuple) else ""
        try:
            is_permitted = self._may_use(ipaddress.ip_address(host), is_encrypted=True)
        except ValueError:
            is_permitted = False
        if not is_permitted:
            raise PermissionError(f"outputs may not speak to {host}: allow it with MOLECATCHER_OUTPUT_NETWORKS")

    def _resolve(self, host: str, port: int) -> list[Address]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise DeliveryFailed(f"{host} has no address: {error}") from None
        return [ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in found]

    def _may_use(self, address: Address, is_encrypted: bool) -> bool:
        mapped = getattr(address, "ipv4_mapped", None) or address
        if any(mapped.version == network.version and mapped in network for network in self._allowed):
            return True
        return is_encrypted and mapped.is_global and not mapped.is_multicast
