"""docs/feeds.md says of every format what the registry says."""

from pathlib import Path

from api.feeds.formats.base import Format
from api.feeds.registry import REGISTRY

DOCUMENT = Path(__file__).parents[3] / "docs" / "feeds.md"
HEAD = "| `/feeds/` | read by | an entry says | limits | proven with the program |"


def row(feed: Format) -> str:
    """The row of the table that describes a format."""
    says = [feed.meaning]
    says += ["nothing about the names below"] if not feed.says_subtrees else []
    says += [f"IPv{feed.versions[0]} only"] if len(feed.versions) == 1 else []
    limits = {"lines": feed.max_lines, "octets a line": feed.max_line_octets, "octets": feed.max_octets}
    taken = ", ".join(f"{limit:,} {unit}" for unit, limit in limits.items() if limit is not None)
    cells = (
        f"`{feed.list_name}.{feed.extension}`",
        feed.consumer,
        "; ".join(says).replace("|", r"\|"),
        taken or "none",
        "yes" if feed.is_tested else "no, format only",
    )
    return f"| {' | '.join(cells)} |"


def test_the_table_says_what_the_registry_says() -> None:
    lines = DOCUMENT.read_text().splitlines()
    start = lines.index(HEAD) + 2
    table = lines[start : lines.index("", start)]
    assert table == [row(feed) for feed in REGISTRY]
