"""Static files under addresses that change with their content, so browsers may keep them for good."""

import hashlib
from importlib.resources import files

from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC_PATH = "/static"
ASSETS = {
    "style": "page.css",
    "chart_style": "uPlot.min.css",
    "script": "page.js",
    "htmx": "htmx.min.js",
    "chart": "uPlot.iife.min.js",
    "icon": "icon.svg",
}
FOR_GOOD = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"


class VersionedFiles(StaticFiles):
    """Serves the files; an address with a version may be kept for good, one without must be asked for again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file with its cache header."""
        response = await super().get_response(path, scope)
        is_versioned = "v" in QueryParams(scope["query_string"])
        response.headers["Cache-Control"] = FOR_GOOD if is_versioned else ASK_AGAIN
        return response


def make_static_files() -> VersionedFiles:
    """Return the application that serves the files of this package."""
    return VersionedFiles(packages=[("api", "static")])


def asset_urls() -> dict[str, str]:
    """Return the versioned address of each file that the page uses."""
    return {key: f"{STATIC_PATH}/{name}?v={_version(name)}" for key, name in ASSETS.items()}


def _version(name: str) -> str:
    return hashlib.sha256(files("api").joinpath("static", name).read_bytes()).hexdigest()[:12]
