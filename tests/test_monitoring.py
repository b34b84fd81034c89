"""Alert rules and dashboard: promtool takes them, the rules fire when they should, every metric exists, and what each
panel of the dashboard asks of a real Prometheus that scrapes a real API is answered with numbers.

Grafana itself is not in Debian: whether it draws the panels as meant is not tested.
"""

import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from access_server import serving
from free_ports import free_port
from installation import Installation
from main_job import wait_for

from api.access.config import AccessConfig
from api.app import create_app
from api.metrics import exposition
from db.store import Store, open_store
from db.workflow.output_values import Output, OutputFilter, OutputKind

FOLDER = Path(__file__).parents[1] / "docs" / "monitoring"
METRIC = re.compile(r"\bmolecatcher_[a-z_]+")
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is missing (apt-get install prometheus)"
)


def promtool(*argv: str) -> None:
    ended = subprocess.run(["promtool", *argv], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@needs_promtool
def test_promtool_takes_the_rules() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yml")


@needs_promtool
def test_every_alert_fires_when_it_should() -> None:
    promtool("test", "rules", "alerts_test.yml")
    alerts = set(re.findall(r"alert: (\w+)", (FOLDER / "alerts.yml").read_text()))
    tested = (FOLDER / "alerts_test.yml").read_text()
    assert {name for name in alerts if name not in tested} == set()


@needs_promtool
def test_the_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = [f"      - {{record: dashboard:{at}, expr: {json.dumps(text)}}}" for at, text in enumerate(expressions)]
    file = tmp_path / "dashboard.yml"
    file.write_text("\n".join(["groups:", "  - name: dashboard", "    rules:", *rules]) + "\n")
    promtool("check", "rules", str(file))
    assert len(expressions) > 12


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    return found


def test_the_dashboard_is_whole() -> None:
    """What Grafana needs to draw a panel: an id and a place of its own, a type it has, a source that is chosen."""
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    (variable,) = dashboard["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    assert len({panel["id"] for panel in panels()}) == len(panels())
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()]
    assert len(set(places)) == len(places)
    for panel in panels():
        assert panel["type"] in {"stat", "timeseries"}
        assert panel["datasource"] == {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[httpx.Client]:
    """Run a Prometheus that scrapes `target` each second."""
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n"
        f"  - {{job_name: molecatcher, static_configs: [{{targets: ['{target}']}}]}}\n"
    )
    address = f"127.0.0.1:{free_port()}"
    options = (f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}")
    program = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", *options]
    with (
        (folder / "prometheus.log").open("w") as log,
        subprocess.Popen(program, stdout=log, stderr=log) as process,
        httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=60) as client,
    ):
        try:
            wait_for(lambda: ready(client))
            yield client
        finally:
            process.terminate()


def ready(client: httpx.Client) -> bool:
    """Whether Prometheus has read its storage: it listens before that, and answers queries with 503."""
    try:
        return client.get("/-/ready").is_success
    except httpx.TransportError:
        return False


def ask(client: httpx.Client, expression: str) -> list[dict[str, Any]]:
    answer = client.get("/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", (expression, answer)
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


@pytest.mark.full
@pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is missing (apt-get install prometheus)")
def test_every_panel_has_numbers_and_the_labels_that_its_legend_names(tmp_path: Path) -> None:
    with open_store(tmp_path / "events.db") as store:
        installation = busy(store, tmp_path)
        with serving(installation, AccessConfig()) as api, prometheus(tmp_path, api.base_url.netloc.decode()) as client:
            wait_for(lambda: ask(client, "count_over_time(up[1m]) > 3"))  # rates need several scrapes
            for panel in panels():
                for target in panel["targets"]:
                    found = ask(client, target["expr"])
                    assert found, (panel["title"], target["expr"])
                    assert all(math.isfinite(float(row["value"][1])) for row in found), (panel["title"], found)
                    for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                        assert all(label in row["metric"] for row in found), (panel["title"], label, found)


def busy(store: Store, folder: Path) -> Installation:
    """Return an installation that has something of everything that is measured."""
    installation = Installation(store, folder / "events.db")
    installation.beat(evicted={"flows": 3})
    installation.publish_both()
    output = Output(
        output_id="o",
        name="soar",
        kind=OutputKind.WEBHOOK,
        target={},
        wanted=OutputFilter(),
        secrets=b"",
        created_by="alice",
        created_at_ns=0,
        place=0,
    )
    assert store.outputs.add_output(output)
    return installation


def test_every_metric_exists(tmp_path: Path) -> None:
    with open_store(tmp_path / "events.db") as store:
        installation = busy(store, tmp_path)
        app = create_app(installation.context())
        app.state.metrics.count("GET", "/v1/events", 200, 0.01)
        text = exposition(app.state.registry).decode()
    known = {row.partition("{")[0].partition(" ")[0] for row in text.splitlines() if not row.startswith("#")}
    families = set(re.findall(r"# TYPE (\S+)", text))
    for name in ("alerts.yml", "dashboard.json"):
        named = set(METRIC.findall((FOLDER / name).read_text()))
        assert len(named) > 10
        assert named <= known | families, name
