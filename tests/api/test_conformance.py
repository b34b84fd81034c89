"""Schemathesis, from the description alone, on a running server: what is answered is what is described."""

import os
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import httpx
import pytest
from installation import Installation, add_token, names_of

from rules.lists.blocklist import UrlList

LEFT_OUT = (
    "/v1/events/stream",  # never ends
    "/v1/events:batch",  # lines of JSON, which Schemathesis does not write
    "/v1/sensors/{sensor_id}/status",
)
NOT_SAID_IN_A_SCHEMA = "positive_data_acceptance"  # `from` before `to`, a cursor's query, a key's own request
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
COMMAND = (
    str(Path(sys.executable).with_name("schemathesis")),
    "--config-file",
    str(CONFIGURATION),
    "run",
    "--no-color",
)
CHECKS = ("--checks", "all", "--exclude-checks")
ALL_PHASES = "examples,coverage,fuzzing,stateful"
SEQUENCES = ("events", "outputs")  # tried once more alone: of what the phases before saw Schemathesis makes few of them
CASES = {  # how many are made at least, by tag; what may follow depends on the ids that the API draws
    "access": 1000,
    "decisions": 400,
    "demonstration": 100,
    "events": 2000,
    "exceptions": 1200,
    "feeds": 1000,
    "findings": 800,
    "health": 20,
    "lists": 2000,
    "outputs": 1500,
    "policy": 5,
    "searches": 300,
    "sensors": 5,
    "services": 1200,
    "taxii": 800,
}
NOT_MEANT = {"services": ",use_after_free"}  # DELETE takes back what was decided of a service, which stays


def run(installation: Installation, tmp_path: Path, *how: str) -> subprocess.CompletedProcess[str]:
    for at in range(5):
        installation.add(src_ip=f"10.20.1.{at}")
    installation.publish_both()
    installation.publish(UrlList(names_of("ngrok-agent.com").blocked))
    installation.beat()
    add_token(installation.store)
    url = f"{installation.url}/v1/openapi.json"
    httpx.get(url, trust_env=False, timeout=60)  # made when first asked for, which Schemathesis may not wait for
    left_out = chain.from_iterable(("--exclude-path", path) for path in LEFT_OUT)
    options = (*how, *left_out, "--generation-deterministic")
    unchecked = NOT_SAID_IN_A_SCHEMA + NOT_MEANT.get(how[-1], "")
    command, environment = [*COMMAND, *CHECKS, unchecked, *options, url], os.environ | {"NO_PROXY": "*"}
    return subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_few_cases_of_every_operation(installation: Installation, tmp_path: Path) -> None:
    ended = run(installation, tmp_path, "--max-examples", "2", "--phases", "examples,coverage")
    assert ended.returncode == 0, ended.stdout[-6000:]


def test_every_operation_belongs_to_a_tag_that_is_tried(installation: Installation) -> None:
    paths = httpx.get(f"{installation.url}/v1/openapi.json", trust_env=False, timeout=60).json()["paths"]
    tags = {tag for path in paths.values() for operation in path.values() for tag in operation["tags"]}
    assert tags == set(CASES)
    assert sum(CASES.values()) >= 10_000


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("tag", CASES)
def test_ten_thousand_cases(installation: Installation, tmp_path: Path, tag: str) -> None:
    """A tag at a time: what may follow each operation of all others is more than can be waited for."""
    made = 0
    for phases in (ALL_PHASES, "stateful") if tag in SEQUENCES else (ALL_PHASES,):
        ended = run(installation, tmp_path, "--max-examples", "150", "--phases", phases, "--include-tag", tag)
        assert ended.returncode == 0, ended.stdout[-6000:]
        cases = re.search(r"(\d+) generated", ended.stdout)
        assert cases
        made += int(cases[1])
    assert made >= CASES[tag]
