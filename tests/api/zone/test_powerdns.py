"""PowerDNS Recursor of Debian 12 and NOTIFY: what docs/feeds.md says that it does with one."""

import pytest
from dns_client import resolves
from feed_programs import upstream
from installation import names_of, wait_until
from main_job import open_folder
from resolvers import powerdns
from zone_service import KEY, Zones, signing_key

from api.zone.notices import Target
from molecatcher.lists.resolver_configuration import configurations

TAKES_NOTICES = ("--allow-notify-from=127.0.0.0/8", "--allow-notify-for=molecatcher.rpz")


@pytest.mark.parametrize(
    ("options", "is_signed", "is_heard"),
    [
        ((), False, False),
        pytest.param(TAKES_NOTICES[:1], False, False, marks=pytest.mark.full),
        pytest.param(TAKES_NOTICES, True, False, marks=pytest.mark.full),
        (TAKES_NOTICES, False, True),
    ],
)
def test_it_takes_a_new_zone_at_its_refresh_whatever_it_was_told(
    options: tuple[str, ...], *, is_signed: bool, is_heard: bool
) -> None:
    zones = Zones()
    zones.publish(names_of("tunnel.example"))
    with open_folder() as folder, upstream() as name_server, zones.serving() as server:
        found = configurations(KEY, "molecatcher.rpz", "127.0.0.1", zones.port)
        printed = found["PowerDNS Recursor: recursor.lua (lua-config-file=)"].replace("/var/lib/powerdns", str(folder))
        quick, log = printed.replace("refresh = 60", "refresh = 8"), folder / "recursor.log"
        with powerdns(folder, name_server, quick, "--quiet=no", *options) as port:
            wait_until(lambda: resolves(port, "tunnel.example") is False)
            zones.targets = (Target("127.0.0.1", port, signing_key() if is_signed else None),)
            zones.publish(names_of("new.example"))
            wait_until(lambda: "NOTIFY" in log.read_text())
            assert resolves(port, "new.example") is True
            wait_until(lambda: resolves(port, "new.example") is False)
        assert server.counts()["notified"] == is_heard
