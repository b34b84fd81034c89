"""Tells that links, addresses or routes changed, so that the choice of interfaces is looked at again."""

import errno
import socket
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.rtnl import (
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_LINK,
)

GROUPS = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE
EVENT_OCTETS = 65_536


class LinkWatcher:
    """A netlink socket that hears of changes; it needs no privilege. What changed is for a fresh dump to say."""

    def __init__(self, groups: int = GROUPS) -> None:
        self._netlink: Any = IPRoute()
        self._netlink.bind(groups=groups)
        self._socket: socket.socket = self._netlink.socket  # IPRoute would make another one in another thread

    def fileno(self) -> int:
        """Return the descriptor that is readable when something changed."""
        return self._socket.fileno()

    def has_changed(self) -> bool:
        """Tell whether something changed since the last call; never waits.

        Raises:
            OSError: The netlink socket failed.
        """
        changed = False
        while self._has_event():
            changed = True
        return changed

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def _has_event(self) -> bool:
        """Take one message from the queue; an overflown queue is news as well."""
        try:
            self._socket.recv(EVENT_OCTETS, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
        return True
