"""The block lists of an installation, built by the real publisher."""

from pathlib import Path

from installation import Installation

from molecatcher.lists.list_files import ListFiles
from molecatcher.lists.publish import Publisher
from molecatcher.names.resolve import NameResolver


def build_lists(installation: Installation, folder: Path) -> None:
    """Build the lists of names, and let a change of the policy be looked at."""
    publisher = Publisher(
        installation.store,
        installation.ruleset,
        NameResolver(["127.0.0.1"]),
        60,
        files=ListFiles(folder),
        now_ns=lambda: installation.now_ns,
    )
    publisher.use_profile("agents-only")
    publisher.publish_names()
    installation.preview_lists = publisher.preview
    installation.preview_profile = publisher.preview_profile
    installation.list_profiles = publisher.profiles
