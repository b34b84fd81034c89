"""What a token opens, in every way to present it, and that nobody can tell why another one is refused."""

import base64
import statistics
import time

import httpx
import pytest
from installation import NOW_NS, SECOND_NS, Installation, add_token
from starlette.datastructures import Headers

from api.access.credentials import Credentials
from api.access.presented import presented_token
from api.access.secrets import digest_of, new_id, new_secret, parse, written
from rules.policy.profiles import DEFAULT_PROFILE

NAMES, ADDRESSES = "/feeds/unsanctioned-domains.txt", "/feeds/unsanctioned-addresses.txt"


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def token(installation: Installation) -> str:
    installation.publish_both()
    return add_token(installation.store)


def ask(installation: Installation, client: httpx.Client, path: str = NAMES, **headers: str) -> httpx.Response:
    """Ask two seconds later, when every change of the tokens has been seen."""
    installation.now_ns += 2 * SECOND_NS
    return client.get(path, headers=headers)


def test_every_way_to_present_a_token(installation: Installation, client: httpx.Client, token: str) -> None:
    _, token_id, secret = token.split("_")
    ways = (
        {"Authorization": f"Bearer {token}"},
        {"X-Api-Key": token},
        basic("anybody", token),
        basic(token_id, secret),
        basic(f"mc_{token_id}", secret),
    )
    for headers in ways:
        assert ask(installation, client, **headers).status_code == 200
    answer = ask(installation, client, f"/feeds/t/{token}/unsanctioned-domains.txt")
    assert answer.status_code == 200
    assert answer.content == client.get(NAMES).content


@pytest.mark.parametrize("scheme", ["Bearer", "Basic", "Digest", ""])
@pytest.mark.parametrize("value", ["", "mc_", "mc_000000000000_" + "0" * 64, "ä".encode().hex(), "====", "x" * 4000])
def test_what_is_no_good_token_is_refused_alike(
    installation: Installation, client: httpx.Client, token: str, scheme: str, value: str
) -> None:
    assert token
    answer = ask(installation, client, Authorization=f"{scheme} {value}".strip())
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert "set-cookie" not in answer.headers


def test_all_refusals_are_one_answer(installation: Installation, client: httpx.Client, token: str) -> None:
    other = "mc_" + token.split("_")[1] + "_" + new_secret()
    refused = [
        other,
        written(new_id(), new_secret()),
        add_token(installation.store, allowed=("10.0.0.0/8",)),
        add_token(installation.store, denied=("127.0.0.0/8",)),
        add_token(installation.store, expires_at_ns=NOW_NS),
        add_token(installation.store, revoked_at_ns=NOW_NS),
    ]
    answers = [ask(installation, client, **{"X-Api-Key": text}) for text in refused]
    seen = {(answer.status_code, answer.content, answer.headers["www-authenticate"]) for answer in answers}
    assert len(seen) == 1
    assert answers[0].status_code == 401


def test_a_token_opens_its_list_only(installation: Installation, client: httpx.Client, token: str) -> None:
    assert token
    bound = {"X-Api-Key": add_token(installation.store, list_name="unsanctioned-domains")}
    assert ask(installation, client, NAMES, **bound).status_code == 200
    assert ask(installation, client, NAMES + ".md5", **bound).status_code == 200
    assert ask(installation, client, ADDRESSES, **bound).status_code == 403
    assert ask(installation, client, ADDRESSES + ".sha256", **bound).status_code == 403


def test_a_token_for_another_profile_does_not_open_the_list_of_all(
    installation: Installation, client: httpx.Client, token: str
) -> None:
    assert token
    bound = add_token(installation.store, profile="strict")
    in_default = f"{NAMES}?profile={DEFAULT_PROFILE}"
    assert ask(installation, client, in_default, **{"X-Api-Key": bound}).status_code == 403


def test_rotation_never_leaves_a_firewall_without_a_good_secret(
    installation: Installation, client: httpx.Client, token: str
) -> None:
    _, token_id, _ = token.split("_")
    newer = new_secret()
    assert installation.store.rotate_token(token_id, digest_of(newer))
    for text in (token, written(token_id, newer)):
        assert ask(installation, client, **{"X-Api-Key": text}).status_code == 200
    assert installation.store.drop_previous_secret(token_id)
    assert ask(installation, client, **{"X-Api-Key": token}).status_code == 401
    assert ask(installation, client, **{"X-Api-Key": written(token_id, newer)}).status_code == 200
    assert installation.store.revoke_token(token_id, NOW_NS)
    assert ask(installation, client, **{"X-Api-Key": written(token_id, newer)}).status_code == 401
    assert not installation.store.rotate_token(token_id, digest_of(newer))


def test_expiry(installation: Installation, client: httpx.Client, token: str) -> None:
    assert token
    brief = {"X-Api-Key": add_token(installation.store, expires_at_ns=NOW_NS + 60 * SECOND_NS)}
    assert ask(installation, client, **brief).status_code == 200
    installation.now_ns = NOW_NS + 60 * SECOND_NS
    assert client.get(NAMES, headers=brief).status_code == 401


def test_nothing_is_refused_before_any_token_is_known(installation: Installation, client: httpx.Client) -> None:
    installation.publish_both()
    answer = ask(installation, client, **{"X-Api-Key": written(new_id(), new_secret())})
    assert answer.status_code == 503
    assert answer.headers["retry-after"]


@pytest.mark.parametrize(
    ("address", "allowed", "denied", "is_good"),
    [
        ("192.0.2.9", ("192.0.2.0/24",), (), True),
        ("::ffff:192.0.2.9", ("192.0.2.0/24",), (), True),
        ("::ffff:192.0.2.9", (), ("192.0.2.0/24",), False),
        ("192.0.2.9", ("192.0.2.0/24",), ("192.0.2.9/32",), False),
        ("198.51.100.1", ("192.0.2.0/24",), (), False),
        ("2001:db8::1", ("2001:db8::/32",), (), True),
        ("fe80::1%eth0", ("fe80::/10",), (), True),
        ("2001:db8::1", ("0.0.0.0/0",), (), False),
        ("", (), (), False),
        ("unix:", (), (), False),
    ],
)
def test_where_a_token_may_come_from(
    installation: Installation, address: str, allowed: tuple[str, ...], denied: tuple[str, ...], is_good: bool
) -> None:
    text = add_token(installation.store, allowed=allowed, denied=denied)
    found = Credentials(installation.store, lambda: installation.now_ns).holder(parse(text), address)
    assert (found is not None) is is_good


def test_tokens_stay_good_while_the_database_is_away(installation: Installation) -> None:
    text = add_token(installation.store)
    credentials = Credentials(installation.store, lambda: installation.now_ns)
    assert credentials.holder(parse(text), "192.0.2.1")
    installation.path.rename(installation.path.with_suffix(".away"))
    installation.now_ns += 5 * SECOND_NS
    assert credentials.holder(parse(text), "192.0.2.1")
    assert credentials.holder(parse(written(new_id(), new_secret())), "192.0.2.1") is None


def test_the_last_use_is_kept(installation: Installation) -> None:
    text = add_token(installation.store)
    credentials = Credentials(installation.store, lambda: installation.now_ns)
    assert credentials.holder(parse(text), "192.0.2.1")
    credentials.flush()
    (kept,) = installation.store.tokens()
    assert kept.last_used_ns == NOW_NS


def test_refusals_take_equally_long(installation: Installation) -> None:
    """Interleaved, so that what else the machine does falls on all; the medians differ by less than 3 us."""
    text = add_token(installation.store, allowed=("198.51.100.0/24",))
    credentials = Credentials(installation.store, lambda: installation.now_ns)
    wrong_secret = parse(f"mc_{text.split('_')[1]}_{new_secret()}")
    cases = {
        "wrong secret": (wrong_secret, "198.51.100.1"),
        "unknown token": (parse(written(new_id(), new_secret())), "198.51.100.1"),
        "wrong address": (parse(text), "192.0.2.1"),
    }
    took: dict[str, list[int]] = {name: [] for name in cases}
    for _ in range(3000):
        for name, (presented, address) in cases.items():
            started = time.perf_counter_ns()
            assert credentials.holder(presented, address) is None
            took[name].append(time.perf_counter_ns() - started)
    medians = {name: statistics.median(times) for name, times in took.items()}
    assert max(medians.values()) - min(medians.values()) < 3_000, medians


def test_a_secret_does_not_print(installation: Installation) -> None:
    text = add_token(installation.store)
    found = presented_token(Headers({"x-api-key": text}))
    assert text.split("_")[2] not in repr(found)
    assert text.split("_")[2] not in repr(installation.store.tokens())
