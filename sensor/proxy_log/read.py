"""A line of a log, recognised by its form."""

import re
from collections.abc import Callable, Sequence

from sensor.errors import MalformedLogLine
from sensor.proxy_log.haproxy import read_http, read_tcp
from sensor.proxy_log.record import ProxyRecord
from sensor.proxy_log.squid import read_common, read_native

# What a syslog daemon puts in front: RFC 3164 (also with an RFC 3339 time, as rsyslog writes files), or RFC 5424.
_SYSLOG = re.compile(
    rb"(?:<\d{1,3}>)?(?:"
    rb"1 \d{4}-\d\d-\d\dT\S{8,32} \S{1,255} \S{1,48} \S{1,128} \S{1,32} (?:-|\[[^\]]*\]) (?:\xef\xbb\xbf)?|"
    rb"(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S{8,32}) (?:[^\s:\[]{1,255} )?[^\s:]{1,128}: )"
)

Reader = Callable[[bytes], ProxyRecord | None]
READERS: Sequence[Reader] = (read_native, read_http, read_tcp, read_common)


def read_line(line: bytes) -> ProxyRecord:
    """Return what one line of a Squid or HAProxy log says, with or without syslog's prefix.

    Cost: `bench/proxy_log.py`.

    Raises:
        MalformedLogLine: a line of no known form, or one that names no client or no host.
    """
    prefix = _SYSLOG.match(line)
    text = line[prefix.end() :] if prefix else line
    for reader in READERS:
        record = reader(text)
        if record is not None:
            return record
    raise MalformedLogLine(0, "not a line of a Squid or HAProxy log")
