"""Who is behind a source address: a process of this host, or the machine that a packet came from."""

import msgspec


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process that holds a socket.

    `cmdline` has no secrets left in it; `container` is `docker:4f1c2a9b7d3e` or `systemd:NAME.service`.
    """

    process: str | None = None
    exe: str | None = None
    cmdline: str | None = None
    pid: int | None = None
    container: str | None = None


class Source(Process, frozen=True, kw_only=True):
    """What is known of a source; None is not known.

    `uid` is who made the socket and `user` that user's name on the sensor's host. `host` is the name that the source
    gave for a lease, `mac` its hardware address as in `02:00:5e:10:00:01`.
    """

    uid: int | None = None
    user: str | None = None
    host: str | None = None
    mac: str | None = None

    @property
    def who(self) -> tuple[object, ...]:
        """What makes two flows of one address somebody else's."""
        return self.uid, self.exe, self.container


NOBODY = Source()
