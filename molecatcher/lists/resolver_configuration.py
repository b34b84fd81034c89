"""What to configure in a resolver so that it takes the policy zone with a key."""

from textwrap import dedent

from api.zone.keys import ZoneKey


def configurations(key: ZoneKey, zone: str, host: str, port: int) -> dict[str, str]:
    """Return the text for each resolver, by the file that it goes into."""
    bracketed = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return {
        "BIND: named.conf": _bind(key, zone, host, port),
        "PowerDNS Recursor: recursor.lua (lua-config-file=)": _powerdns(key, zone, bracketed),
        "Knot DNS, which hands the zone on to resolvers: knot.conf": _knot(key, zone, host, port),
        "Unbound and Knot Resolver": _without_keys(),
    }


def _bind(key: ZoneKey, zone: str, host: str, port: int) -> str:
    return dedent(
        f"""\
        key "{key.name}" {{ algorithm {key.algorithm}; secret "{key.secret}"; }};
        zone "{zone}" {{
            type secondary;
            file "{zone}.db";
            primaries {{ {host} port {port} key "{key.name}"; }};
            allow-notify {{ key "{key.name}"; }};
            allow-query {{ none; }};
            allow-transfer {{ none; }};
        }};
        // and inside options {{ }}:
        //     response-policy {{ zone "{zone}"; }} qname-wait-recurse no;"""
    )


def _powerdns(key: ZoneKey, zone: str, where: str) -> str:
    return dedent(
        f"""\
        rpzPrimary({{"{where}"}}, "{zone}", {{
            tsigname = "{key.name}", tsigalgo = "{key.algorithm}", tsigsecret = "{key.secret}",
            refresh = 60, dumpFile = "/var/lib/powerdns/{zone}", seedFile = "/var/lib/powerdns/{zone}",
        }})"""
    )


def _knot(key: ZoneKey, zone: str, host: str, port: int) -> str:
    return dedent(
        f"""\
        key:
          - id: {key.name}
            algorithm: {key.algorithm}
            secret: {key.secret}
        remote:
          - id: molecatcher
            address: {host}@{port}
            key: {key.name}
        acl:
          - id: molecatcher-notify
            key: {key.name}
            action: notify
        zone:
          - domain: {zone}
            master: molecatcher
            acl: molecatcher-notify"""
    )


def _without_keys() -> str:
    return dedent(
        """\
        Unbound signs no transfers: beyond this host let it pull the zone over https, with a token in the path.
        Knot Resolver reads a file: let `molecatcher fetch` keep it. Both are in docs/feeds.md."""
    )
