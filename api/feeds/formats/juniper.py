"""A feed server's bundle for Juniper SRX: a .tgz that holds one text of prefixes, each with its mask."""

import gzip
import io
import tarfile

from api.feeds.addresses import prefixes
from api.feeds.formats.base import FeedFormat, Format
from rules.lists.blocklist import ListName, Snapshot

MEMBER = "molecatcher.txt"
NS_PER_S = 1_000_000_000


def prefix_lines(snapshot: Snapshot) -> list[str]:
    """Return a line for each network, single addresses with their mask as well."""
    return [prefix.full for prefix in prefixes(snapshot)]


def bundle(text: bytes, snapshot: Snapshot) -> bytes:
    """Return the archive; the same snapshot gives the same bytes."""
    member = tarfile.TarInfo(MEMBER)
    member.size, member.mtime = len(text), snapshot.created_at_ns // NS_PER_S
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writer:
        writer.addfile(member, io.BytesIO(text))
    return gzip.compress(archive.getvalue(), mtime=0)


ADDRESSES = Format(
    extension=FeedFormat.JUNIPER,
    list_name=ListName.UNSANCTIONED_ADDRESSES,
    consumer="a Juniper SRX feed server",
    meaning="one prefix with its mask a line, in a .tgz",
    lines=prefix_lines,
    comment="",
    media_type="application/gzip",
    pack=bundle,
)
