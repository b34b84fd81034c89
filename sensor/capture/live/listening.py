"""Where to listen in several network namespaces at once: one choice of interfaces for each, put together."""

from collections.abc import Iterable, Sequence

from sensor.capture.live.interfaces import Choice, choose_interfaces
from sensor.capture.live.link_watcher import LinkWatchers
from sensor.capture.live.namespaces import HOME, Namespaces, full_name, split_name


class Listening:
    """What to listen on: `explicit` interfaces (`NAME` or `NETNS/NAME`), and what is chosen in each of `netns`.

    In this process's own namespace it is chosen unless something is explicit.
    """

    def __init__(self, namespaces: Namespaces, explicit: Sequence[str] = (), netns: Iterable[str] = ()) -> None:
        self._namespaces = namespaces
        self._absent = namespaces.absent
        self._named: dict[str, list[str]] = {} if explicit else {HOME: []}
        for name in explicit:
            namespace, interface = split_name(name)
            self._named.setdefault(namespace, []).append(interface)
        for namespace in netns:
            self._named.setdefault(namespace, [])
        self._links = LinkWatchers(namespaces)

    def choose(self) -> Choice:
        """Return what to listen on now, named as events name it.

        Raises:
            pyroute2.NetlinkError, OSError: The kernel refused a dump.
        """
        self._absent = self._namespaces.absent
        choices = {
            where: self._namespaces.call(where, choose_interfaces, named)
            for where, named in self._named.items()
            if where in self._namespaces
        }
        if tuple(self._named) == (HOME,):
            return choices[HOME]
        names = [full_name(where, name) for where, choice in choices.items() for name in choice.interfaces]
        reasons = [f"{where or 'own namespace'}: {choice.reason}" for where, choice in choices.items()]
        is_gateway = any(choice.is_gateway for choice in choices.values())
        return Choice(tuple(names), "; ".join((*reasons, *self._absent)), is_gateway)

    def has_changed(self) -> bool:
        """Tell whether a link, address, route or namespace changed since the last call or choice; never waits."""
        return self._links.has_changed() or self._absent != self._namespaces.absent

    def renew(self, names: Iterable[str]) -> None:
        """Take note that the namespaces `names` were left or entered."""
        self._links.renew(names)

    def close(self) -> None:
        """Close what hears of changes."""
        self._links.close()
