"""Tells that links, addresses or routes changed, so that the choice of interfaces is looked at again.

A plain netlink socket: pyroute2's IPRoute belongs to the thread that made it and to an event loop of its own.
"""

import errno
import select
import socket
from collections.abc import Iterable

from pyroute2.netlink.rtnl import (
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_LINK,
)

from sensor.capture.live.namespaces import Namespaces

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


class LinkWatchers:
    """A `LinkWatcher` in each of `namespaces`, used like a single one."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._any = select.epoll()
        self._watchers: dict[str, LinkWatcher] = {}
        self.renew(namespaces)

    def fileno(self) -> int:
        """Return the descriptor that is readable when something changed in any of them."""
        return self._any.fileno()

    def has_changed(self) -> bool:
        """Tell whether something changed since the last call; never waits.

        Raises:
            OSError: A netlink socket failed.
        """
        return sum(watcher.has_changed() for watcher in self._watchers.values()) > 0  # every queue is emptied

    def renew(self, names: Iterable[str]) -> None:
        """Watch the namespaces `names` from now on, or no more, since they were entered or left."""
        for name in names:
            self._drop(name)
            if name in self._namespaces:
                watcher = self._namespaces.call(name, LinkWatcher)
                self._watchers[name] = watcher
                self._any.register(watcher, select.EPOLLIN)

    def close(self) -> None:
        """Close all sockets."""
        for name in tuple(self._watchers):
            self._drop(name)
        self._any.close()

    def _drop(self, name: str) -> None:
        if name in self._watchers:
            watcher = self._watchers.pop(name)
            self._any.unregister(watcher)
            watcher.close()
