"""The page for people whose connection was refused."""

from dataclasses import replace

import httpx
from installation import POLICY, Installation


def test_blocked_people_are_told_why_and_what_they_can_use(installation: Installation, client: httpx.Client) -> None:
    installation.add(src_user="alice")
    text = client.get("/blocked").text
    assert "tunnels.example.com" in text
    assert "Ask platform@example.com" in text
    assert "alice" not in text
    installation.policy = replace(POLICY, sanctioned=(replace(POLICY.sanctioned[0], is_active=False),))
    assert "tunnels.example.com" not in client.get("/blocked").text
