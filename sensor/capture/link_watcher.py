"""Tells that links, addresses or routes changed, so that the choice of interfaces is looked at again.

A plain netlink socket: pyroute2's IPRoute belongs to the thread that made it and to an event loop of its own.
"""

import errno
import socket

from pyroute2.netlink.rtnl import (
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_LINK,
)

GROUPS = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE
ANY_PORT = 0


class LinkWatcher:
    """A netlink socket that hears of changes; it needs no privilege. What changed is for a fresh dump to say."""

    def __init__(self, groups: int = GROUPS) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._socket.bind((ANY_PORT, groups))

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
        self._socket.close()

    def _has_event(self) -> bool:
        """Take one message from the queue, whose content does not matter; an overflown queue is news as well."""
        try:
            self._socket.recv(1)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
        return True
