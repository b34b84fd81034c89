"""A logout token ends sessions only when it is this provider's, for us, of now, and about logout."""

from collections.abc import Mapping

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from api.access.logout_token import EVENT, MAX_AGE_S, LogoutToken, read_logout_token
from api.access.oidc import ALGORITHMS
from api.errors import RefusedLogout

NOW_S = 1_795_460_400
KEY = ECKey.generate_key("P-256", {"kid": "1"})
OTHER_KEY = ECKey.generate_key("P-256", {"kid": "1"})
CLAIMS = {
    "iss": "https://id.example.com",
    "aud": "molecatcher",
    "iat": NOW_S,
    "exp": NOW_S + 120,
    "jti": "j-1",
    "sub": "u-1",
    "sid": "s-1",
    "events": {EVENT: {}},
}


def read(claims: Mapping[str, object], typ: str = "logout+jwt", key: ECKey = KEY) -> LogoutToken:
    text = jwt.encode({"alg": "ES256", "kid": "1", "typ": typ}, dict(claims), key)
    keys = KeySet([KEY])
    return read_logout_token(
        text, keys, ALGORITHMS, issuer="https://id.example.com", client_id="molecatcher", now_s=NOW_S
    )


def test_a_good_token_says_whose_session_is_over() -> None:
    assert read(CLAIMS) == LogoutToken("j-1", "u-1", "s-1")
    assert read({**CLAIMS, "aud": ["others", "molecatcher"]}, "JWT").sid == "s-1"
    assert read({name: value for name, value in CLAIMS.items() if name not in {"sid", "exp"}}).sid == ""


BAD: dict[str, dict[str, object]] = {
    "another provider": {"iss": "https://evil.example.com"},
    "another client": {"aud": "others"},
    "old": {"iat": NOW_S - MAX_AGE_S - 1},
    "from the future": {"iat": NOW_S + 3600},
    "expired": {"exp": NOW_S - 3600},
    "an ID token": {"nonce": "n-1"},
    "another event": {"events": {"http://schemas.openid.net/event/other": {}}},
    "an event that is no object": {"events": {EVENT: "yes"}},
    "events that are no object": {"events": [EVENT]},
    "nobody's": {"sub": "", "sid": ""},
    "a subject that is no text": {"sub": {"a": 1}},
    "a long session id": {"sid": "s" * 5000},
    "a time that is no number": {"iat": "now"},
    "an id that is no text": {"jti": 7},
}


@pytest.mark.parametrize("why", BAD)
def test_what_is_not_meant_for_this_is_refused(why: str) -> None:
    with pytest.raises(RefusedLogout):
        read(CLAIMS | BAD[why])


@pytest.mark.parametrize("name", ["iss", "aud", "iat", "jti", "events"])
def test_what_must_be_said_is_missed(name: str) -> None:
    with pytest.raises(RefusedLogout):
        read({key: value for key, value in CLAIMS.items() if key != name})


def test_another_key_another_type_and_no_token_are_refused() -> None:
    with pytest.raises(RefusedLogout):
        read(CLAIMS, key=OTHER_KEY)
    with pytest.raises(RefusedLogout):
        read(CLAIMS, "at+jwt")
    for text in ("", "x", "a.b.c", "e30.e30.", "\u00df" * 40_000):
        with pytest.raises(RefusedLogout):
            read_logout_token(text, KeySet([KEY]), ALGORITHMS, issuer="", client_id="", now_s=NOW_S)
