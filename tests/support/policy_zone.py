"""A response policy zone, judged as a resolver judges it."""

import dns.name
import dns.rdatatype
import dns.zone

ORIGIN = dns.name.from_text("rpz.invalid.")
NXDOMAIN, PASSTHRU = dns.name.root, dns.name.from_text("rpz-passthru.")


class Zone:
    """A parsed zone that answers like a resolver with response policies: by the nearest name that exists (RFC 4592)."""

    def __init__(self, found: str | dns.zone.Zone) -> None:
        self.zone = dns.zone.from_text(found, ORIGIN, relativize=False) if isinstance(found, str) else found
        self.origin = self.zone.origin or ORIGIN
        self.existing = {name for owner in self.zone for name in self._ancestors(owner)}

    def judge(self, name: str) -> str:
        """Return `blocked`, `passed` or `nothing`."""
        wanted = dns.name.from_text(name, self.origin)
        if wanted in self.existing:
            return self._action(wanted)
        encloser = next(above for above in self._ancestors(wanted) if above in self.existing)
        return self._action(dns.name.from_text("*", encloser))

    def _action(self, owner: dns.name.Name) -> str:
        rdataset = self.zone.get_rdataset(owner, dns.rdatatype.CNAME)
        return {None: "nothing", NXDOMAIN: "blocked", PASSTHRU: "passed"}[rdataset[0].target if rdataset else None]

    def _ancestors(self, owner: dns.name.Name) -> list[dns.name.Name]:
        count = len(owner.labels) - len(self.origin.labels)
        return [dns.name.Name(owner.labels[at:]) for at in range(count + 1)]
