"""A real OpenID provider on loopback (npm `oidc-provider`, tests/npm), and a browser that follows its redirects."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from free_ports import free_port

FOLDER = Path(__file__).parents[1] / "npm"
SECRET = "secret-of-the-client"  # noqa: S105 - of the tests' own provider
needs_provider = pytest.mark.skipif(
    shutil.which("node") is None or not (FOLDER / "node_modules" / "oidc-provider").exists(),
    reason="apt-get install nodejs npm; npm ci --prefix tests/npm",
)


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """A running provider."""

    issuer: str

    def set_persona(self, **persona: object) -> None:
        """Say who signs in next, and how."""
        httpx.put(f"{self.issuer}/persona", json=persona, trust_env=False, timeout=60).raise_for_status()

    def change_key(self, kid: str) -> None:
        """Have it sign with a new key called `kid`, and forget the one before."""
        httpx.put(f"{self.issuer}/keys/{kid}", trust_env=False, timeout=60).raise_for_status()


@contextmanager
def identity_provider(redirect_uri: str) -> Iterator[IdentityProvider]:
    """Yield a provider that sends browsers back to `redirect_uri`."""
    port = free_port()
    command = ["node", "oidc_provider.mjs", str(port), redirect_uri]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE, stderr=complaints, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if line == "ready\n":
                break
        try:
            yield IdentityProvider(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


class Browser:
    """Follows redirects by hand and keeps cookies for each host and port, Secure ones on loopback too."""

    def __init__(self) -> None:
        self.cookies: dict[str, dict[str, str]] = {}
        self._client = httpx.Client(trust_env=False, timeout=60)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Return the last answer of a chain of redirects."""
        for _ in range(12):
            answer = self.once("GET", url, headers=headers)
            if answer.status_code not in {302, 303}:
                return answer
            url = urljoin(url, answer.headers["location"])
        raise AssertionError("too many redirects")

    def once(self, method: str, url: str, **options: object) -> httpx.Response:
        """Return one answer, and keep its cookies."""
        kept = self.cookies.setdefault(urlsplit(url).netloc, {})
        headers = dict(options.pop("headers", None) or {})  # type: ignore[call-overload]
        if kept:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in kept.items())
        answer = self._client.request(method, url, headers=headers, **options)  # type: ignore[arg-type]
        for line in answer.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0]
            is_over = "max-age=0" in line.lower() or "1970" in line
            kept.pop(name, None)
            if not is_over and value.strip('"'):
                kept[name] = value
        return answer
