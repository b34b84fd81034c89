"""Sign-in through the organisation's OpenID provider: authorization code with PKCE, and a rule for how strong it was.

The provider's description and keys are asked for when they are needed and kept for an hour, and asked for again when a
token is signed by a key that is not among them. What a sign-in has to remember until the browser comes back travels in
a signed cookie of the same browser.
"""

import base64
import hashlib
import hmac
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import GuestProtocol, KeySet

from api.access.config import OidcConfig, StepUpConfig
from api.access.logout_token import MAX_TEXT, LogoutToken, read_logout_token
from api.errors import RefusedSignIn, UnprovenSignIn
from api.times import NS_PER_S
from db.access.values import AccessRole

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
TIMEOUT_S = 10.0
KEPT_S = 3600
NEW_KEYS_S = 60  # anybody may send a token that names a key of its own
RETRY_S = 5  # so long one failure answers for all: each attempt holds a thread for seconds
WAIT_S = 1.0  # for others' attempts
EXCHANGES = 8  # of codes at once
SIGN_IN_S = 600
LEEWAY_S = 60
MAX_COOKIE = 2048
MAX_GROUPS = 500  # of which a session remembers
COOKIE = "__Host-molecatcher-sign-in"


class SignIn(msgspec.Struct, frozen=True, array_like=True):
    """What a sign-in remembers until the browser comes back."""

    state: str
    nonce: str
    verifier: str
    target: str
    is_step_up: bool
    expires_at_s: int


class Identity(msgspec.Struct, frozen=True):
    """Who signed in, and how."""

    issuer: str
    subject: str
    name: str
    role: AccessRole
    amr: tuple[str, ...]
    acr: str
    authenticated_at_ns: int
    sid: str = ""
    groups: tuple[str, ...] = ()


class OidcClient:
    """Speaks with the provider. `secret` signs the cookie of a sign-in."""

    def __init__(
        self, config: OidcConfig, redirect_uri: str, step_up: StepUpConfig, secret: bytes, now_ns: Callable[[], int]
    ) -> None:
        self.config = config
        self._redirect_uri = redirect_uri
        self._step_up = step_up
        self._secret = secret
        self._now_ns = now_ns
        self._asking = threading.BoundedSemaphore()
        self._exchanging = threading.BoundedSemaphore(EXCHANGES)
        self._metadata: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._asked_at_s = 0
        self._failure = ""
        self._failed_at_s = -math.inf

    def begin(self, target: str, *, is_step_up: bool) -> tuple[str, str]:
        """Return where to send the browser, and the cookie that it is to bring back.

        Raises:
            RefusedSignIn: the provider cannot be asked.
        """
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        expires_at_s = self._now_s() + SIGN_IN_S
        sign_in = SignIn(state, nonce, verifier, target, is_step_up, expires_at_s)
        acr = self._step_up.acr if is_step_up and self._step_up.acr else self.config.mfa.acr
        wanted = {"acr_values": " ".join(acr)} if acr else {}
        max_age_s = self._step_up.max_age_s if is_step_up else self.config.max_age_s
        with self._client() as client:
            url, _ = client.create_authorization_url(
                self._described()["authorization_endpoint"],
                state=state,
                code_verifier=verifier,
                nonce=nonce,
                max_age=max_age_s,
                **wanted,
            )
        return url, self._seal(sign_in)

    def finish(self, query: Mapping[str, str], cookie: str) -> tuple[Identity, str]:
        """Return who signed in, and where the person wanted to go.

        Raises:
            RefusedSignIn: the answer is not one to this browser's question, or was not strong or fresh enough.
        """
        sign_in = self._open(cookie)
        described = self._described()
        if not hmac.compare_digest(sign_in.state.encode(), query.get("state", "").encode()):
            raise RefusedSignIn("the answer belongs to another sign-in: begin again")
        if query.get("iss", described["issuer"]) != described["issuer"]:
            raise RefusedSignIn("the answer comes from another provider (RFC 9207)")
        if "error" in query or "code" not in query:
            raise RefusedSignIn("the provider refused the sign-in")
        return self._judge(self._claims(query["code"], sign_in), sign_in), sign_in.target

    def told_over(self, logout_token: str) -> LogoutToken:
        """Return whose sessions the provider says are over.

        Raises:
            RefusedSignIn: the provider cannot be asked for its keys.
            RefusedLogout: the token does not come from it, or not for us, or not of now.
        """
        described = self._described()
        return read_logout_token(
            logout_token,
            self._keys_for,
            ALGORITHMS,
            issuer=described["issuer"],
            client_id=self.config.client_id,
            now_s=self._now_s(),
        )

    def end_address(self) -> str | None:
        """Return where people end their session with the provider, if it says."""
        address = self._metadata.get("end_session_endpoint")
        return str(address) if address else None

    def _judge(self, claims: Mapping[str, Any], sign_in: SignIn) -> Identity:
        """Return the identity, if it was proved well enough; what the provider does not say counts as not done."""
        who = {
            "issuer": str(claims["iss"]),
            "subject": str(claims["sub"]),
            "name": str(claims.get("email") or claims.get("preferred_username") or claims["sub"]),
        }
        amr, acr = tuple(map(str, claims.get("amr") or ())), str(claims.get("acr") or "")
        if not self.config.is_strong(amr, acr):
            raise UnprovenSignIn("the provider does not say that a second factor was used (amr, acr)", **who)
        at_s, now_s = claims.get("auth_time"), self._now_s()
        max_age_s = self._step_up.max_age_s if sign_in.is_step_up else self.config.max_age_s
        if not isinstance(at_s, int) or not now_s - max_age_s - LEEWAY_S <= at_s <= now_s + LEEWAY_S:
            raise UnprovenSignIn("the provider does not say that the sign-in was recent (auth_time)", **who)
        groups = self._groups(claims)
        role = self.config.role_of(groups)
        if role is None:
            raise UnprovenSignIn("none of its groups has a role here", **who)
        return Identity(
            **who,
            role=role,
            amr=amr,
            acr=acr,
            authenticated_at_ns=min(at_s, now_s) * NS_PER_S,
            sid=str(claims.get("sid") or "")[:MAX_TEXT],
            groups=groups,
        )

    def _groups(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the groups that the provider names, those with a role first; of many only the first are kept."""
        said = claims.get(self.config.groups_claim) or ()
        named = [str(group)[:MAX_TEXT] for group in (said if isinstance(said, list) else [said])]
        return tuple(sorted(named, key=lambda group: group not in self.config.roles)[:MAX_GROUPS])

    def _claims(self, code: str, sign_in: SignIn) -> Mapping[str, Any]:
        described = self._described()
        try:
            with _taking(self._exchanging), self._client() as client:
                token = client.fetch_token(described["token_endpoint"], code=code, code_verifier=sign_in.verifier)
            decoded = jwt.decode(token["id_token"], self._keys_for, algorithms=list(ALGORITHMS))
            options = {
                "iss": {"essential": True, "value": described["issuer"]},
                "aud": {"essential": True, "value": self.config.client_id},
            }
            params = {"nonce": sign_in.nonce, "client_id": self.config.client_id, "access_token": token["access_token"]}
            claims = CodeIDToken(decoded.claims, decoded.header, options, params)
            claims.validate(now=self._now_s(), leeway=LEEWAY_S)
        except (AuthlibBaseError, JoseError, requests.RequestException, KeyError, ValueError) as error:
            raise RefusedSignIn(f"the provider's answer cannot be used ({type(error).__name__})") from error
        return dict(claims)

    def _described(self) -> Mapping[str, Any]:
        """Return the provider's description, with its keys read."""
        with _taking(self._asking):
            if not self._metadata or abs(self._now_s() - self._asked_at_s) >= KEPT_S:
                self._ask()
            return self._metadata

    def _keys_for(self, token: GuestProtocol) -> KeySet:
        """Return the provider's keys, those of now where none kept is the token's."""
        kid = token.headers().get("kid")
        with _taking(self._asking):
            is_known = self._keys is not None and any(key.kid == kid for key in self._keys)
            if not is_known and abs(self._now_s() - self._asked_at_s) >= NEW_KEYS_S:
                self._ask()
            return self._keys or KeySet([])

    def _ask(self) -> None:
        if time.monotonic() - self._failed_at_s < RETRY_S:
            raise RefusedSignIn(self._failure)
        try:
            address = f"{self.config.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = self._get(address)
            if found["issuer"] != self.config.issuer:
                raise RefusedSignIn("the provider calls itself otherwise than `issuer` in the access file")
            keys = KeySet.import_key_set(self._get(found["jwks_uri"]))
        except (requests.RequestException, JoseError, KeyError, ValueError) as error:
            self._failure = f"the provider cannot be asked ({type(error).__name__})"
            self._failed_at_s = time.monotonic()
            raise RefusedSignIn(self._failure) from error
        self._metadata, self._keys, self._asked_at_s = found, keys, self._now_s()

    def _get(self, address: str) -> Any:
        answer = requests.get(address, timeout=TIMEOUT_S, verify=self.config.ca_file or True, allow_redirects=False)
        answer.raise_for_status()
        return answer.json()

    def _client(self) -> OAuth2Session:
        client = OAuth2Session(
            self.config.client_id,
            self._client_secret(),
            scope=" ".join(self.config.scopes),
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            default_timeout=TIMEOUT_S,
        )
        client.verify = self.config.ca_file or True
        return client

    def _client_secret(self) -> str | None:
        secret_file = self.config.client_secret_file
        try:
            return Path(secret_file).read_text().strip() if secret_file else None
        except (OSError, UnicodeDecodeError) as error:
            raise RefusedSignIn(
                f"client_secret_file of the access file cannot be read ({type(error).__name__})"
            ) from error

    def _seal(self, sign_in: SignIn) -> str:
        payload = base64.urlsafe_b64encode(msgspec.json.encode(sign_in)).decode()
        return f"{payload}.{self._signature(payload)}"

    def _open(self, cookie: str) -> SignIn:
        payload, _, signature = cookie[:MAX_COOKIE].partition(".")
        if not hmac.compare_digest(self._signature(payload).encode(), signature.encode()):
            raise RefusedSignIn("this browser has no sign-in under way: begin again")
        sign_in = msgspec.json.decode(base64.urlsafe_b64decode(payload), type=SignIn)
        if self._now_s() >= sign_in.expires_at_s:
            raise RefusedSignIn("the sign-in took too long: begin again")
        return sign_in

    def _signature(self, payload: str) -> str:
        return hmac.digest(self._secret, b"sign-in:" + payload.encode(), hashlib.sha256).hex()

    def _now_s(self) -> int:
        return self._now_ns() // NS_PER_S


@contextmanager
def _taking(place: threading.BoundedSemaphore) -> Iterator[None]:
    """Hold a place among those who wait for the provider: a silent one must not hold every thread.

    Raises:
        RefusedSignIn: there is none.
    """
    if not place.acquire(timeout=WAIT_S):
        raise RefusedSignIn("the provider takes long to answer: try again in a minute")
    try:
        yield
    finally:
        place.release()


def local_target(text: str) -> str:
    """Return a path of this server, `/` for everything else: nobody is sent to another site after a sign-in."""
    parts = urlsplit(text)
    is_ours = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if is_ours and not parts.scheme and not parts.netloc else "/"
