"""`molecatcher sigma`: the catalogue as Sigma rules, to look for tunnels in logs that no sensor sees."""

import sys
import time
from pathlib import Path

from molecatcher.catalogue.folder import CatalogueFolder
from molecatcher.errors import SetupError
from molecatcher.live_rules import LiveRules
from molecatcher.settings import Settings
from rules.catalogue.sigma import sigma_rules


def write_rules(settings: Settings, output: Path | None) -> None:
    """Write the rules as one YAML stream to standard output, or each as a file into the folder `output`.

    Raises:
        SetupError: the folder cannot be used.
    """
    catalogue = CatalogueFolder(settings.state, settings.catalogue_dir).load()
    rules, now_ns = LiveRules(catalogue, settings.policy, time.time_ns).current, time.time_ns()
    sanctioned = [sanction.domain for sanction in rules.policy.active_sanctions(now_ns)]
    documents = list(sigma_rules(rules.catalogue, sanctioned))
    if output is None:
        sys.stdout.write("---\n".join(documents))
        return
    try:
        output.mkdir(parents=True, exist_ok=True)
        for document in documents:
            identity = next(line for line in document.splitlines() if line.startswith("id: "))[5:-1]
            (output / f"molecatcher-{identity}.yml").write_text(document, encoding="utf-8")
    except OSError as error:
        raise SetupError(f"{output} cannot be used: {error.strerror}; give another folder with --output") from error
