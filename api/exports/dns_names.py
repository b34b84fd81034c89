"""Numbers of the DNS by their names in the IANA registries; None for what is none, which a sensor could send."""

import dns.rcode
import dns.rdatatype

MAX_TYPE = 65_535
MAX_RCODE = 4_095


def type_name(number: int | None) -> str | None:
    """Return the name of a record type, such as `AAAA`, or `TYPE65399`."""
    if number is None or not 0 <= number <= MAX_TYPE:
        return None
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(number))


def rcode_name(number: int | None) -> str | None:
    """Return the name of a response code, such as `NXDOMAIN`."""
    if number is None or not 0 <= number <= MAX_RCODE:
        return None
    return dns.rcode.to_text(dns.rcode.Rcode.make(number))
