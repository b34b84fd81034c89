"""What is no trap at all, though it looks like one: a table of docs/detection.md, as `traps.py` is."""

import ordinary as o
import tricks as t
from frames import told
from trap import NGROK_AGENT, NGROK_VISITOR, NOTHING, PINNED, SANCTIONED_AGENT, Trap

QUIET = (
    Trap(
        "a request to a proxy for the sanctioned name, the policy pins addresses",
        "the proxy's address is no lie: an absolute URI is for a proxy, as a CONNECT is",
        lambda: t.through_proxies(t.http(f"GET http://{t.SANCTIONED}/crl HTTP/1.1", f"Host: {t.SANCTIONED}")),
        SANCTIONED_AGENT,
        PINNED,
    ),
    Trap(
        "user information before the sanctioned name of a URI",
        "it names no host",
        lambda: t.through_proxies(t.http(f"GET http://u:p@{t.SANCTIONED}/ HTTP/1.1", f"Host: {t.SANCTIONED}")),
        SANCTIONED_AGENT,
    ),
    Trap(
        "sites for people: documentation, dashboard, log-in",
        "not agents' names",
        lambda: t.asked("ngrok.com", "docs.ngrok.com", "dashboard.ngrok.com", "tailscale.com", "pinggy.io"),
        NOTHING,
    ),
    Trap(
        "look-alikes: `evil-ngrok-agent.com`, `ngrok-agent.com.example.net`",
        "names are compared by whole labels from the right",
        lambda: t.asked("evil-ngrok-agent.com", "ngrok-agent.com.example.net"),
        NOTHING,
    ),
    Trap(
        "a search domain behind the name: `connect.ngrok-agent.com.corp.example`",
        "another name",
        lambda: t.asked(f"{t.AGENT}.corp.example"),
        NOTHING,
    ),
    Trap(
        "a dot inside a label, a NUL inside a name",
        "escaped, so that it is another name",
        lambda: [*t.dialled("x\0.connect.ngrok-agent.com\0.example.net"), *t.query(t.dotted_label())],
        NOTHING,
    ),
    Trap(
        "an address shared with an agent's name, told for another name too",
        "the name that the client asked for explains the flow",
        lambda: [*told(t.AGENT), *t.later([*told(t.UNLISTED), *t.dialled(t.UNLISTED)], 1)],
        NGROK_AGENT,
    ),
    Trap(
        "the same address, told to another client",
        "told names are kept by client",
        lambda: [*told(t.AGENT), *t.later(t.of_another_client(t.dialled(t.UNLISTED)), 1)],
        NGROK_AGENT,
    ),
    Trap(
        "the same address, long after the answer expired",
        "told names are kept for their time to live",
        lambda: [*told(t.AGENT, ttl=60), *t.later(t.dialled(t.UNLISTED), 3600)],
        NGROK_AGENT,
    ),
    Trap(
        "another name at an address of a content network, which was told for an agent's name",
        "everybody's names are there; the look-up tells",
        lambda: [*told(t.AGENT, "104.16.0.9"), *t.later(t.dialled(t.UNLISTED, server="104.16.0.9"), 1)],
        NGROK_AGENT,
        verdicts=1,
    ),
    Trap(
        "the sanctioned ingress on an address that also serves a listed name",
        "sanction wins",
        lambda: t.recorded("ngrok-py-sanctioned-sharedip"),
        SANCTIONED_AGENT,
    ),
    Trap(
        "somebody who opens a tunnel's page, a mail gateway that follows links",
        "a visitor, of low severity",
        lambda: t.dialled("x.ngrok-free.app"),
        NGROK_VISITOR,
    ),
    Trap(
        "git over SSH on 443, at the hosts that offer it for networks which block 22",
        "`ssh.github.com`, `altssh.gitlab.com` and `altssh.bitbucket.org` forward nothing",
        o.git_over_443,
        NOTHING,
    ),
    Trap(
        "SSH to port 22 of a host, through an HTTP or SOCKS proxy",
        "the port that the proxy is asked to dial counts, not its own",
        lambda: [*o.ssh_through_a_proxy("github.com:22"), *o.ssh_through_socks()],
        NOTHING,
    ),
    Trap(
        "somebody who opens a codespace: the relay of dev tunnels is dialled by both ends",
        "unclear, of medium severity: the name does not say which end",
        o.codespaces,
        {("unsanctioned", "devtunnels", "unclear")},
    ),
    Trap(
        "games and voice on odd ports: RTP, STUN, DTLS, Discord, Steam, RakNet, TeamSpeak, Zoom, BitTorrent",
        "no tell is so short that they have it",
        lambda: o.both_ways(o.GAMES_AND_VOICE),
        NOTHING,
    ),
    Trap(
        "VPN clients of the company: IKEv2, ESP in UDP, L2TP, DTLS",
        "not looked for",
        lambda: o.both_ways(o.VPN_CLIENTS),
        NOTHING,
    ),
    Trap(
        "databases, queues, file servers and IoT on odd ports; alerts of TLS servers",
        "the same",
        lambda: o.each(o.SERVERS),
        NOTHING,
    ),
    Trap(
        "`kubectl exec`, Docker, charging stations and event streams over upgraded connections",
        "only the paths and subprotocols of tunnels count",
        lambda: o.each(o.UPGRADES),
        NOTHING,
    ),
    Trap(
        "a management agent without ALPN that beats every 10 s",
        "a beat is a sign only beside a service that hello or address point to",
        o.with_a_beat,
        NOTHING,
    ),
    Trap(
        "software that pins TLS 1.0, a browser that sends ECH to everybody",
        "neither says anything",
        lambda: [*o.old_tls(), *o.with_ech()],
        NOTHING,
    ),
    Trap(
        "registries, runners, chat and DNS over HTTPS of the company",
        "their names are nobody's tunnel",
        lambda: o.opened(
            "ghcr.io",
            "registry-1.docker.io",
            "pipelines.actions.githubusercontent.com",
            "wss-primary.slack.com",
            "teams.microsoft.com",
            "gateway.discord.gg",
            "dns.google",
            "one.one.one.one",
        ),
        NOTHING,
    ),
    Trap(
        "cloud services that are called nearly alike: Parameter Store, Service Bus, Event Hubs, Azure Arc at rest",
        "what every customer's programs call is not listed",
        lambda: o.opened(
            "ssm.eu-central-1.amazonaws.com",
            "ec2.eu-central-1.amazonaws.com",
            "iap.googleapis.com",
            "portal.azure.com",
            "gbl.his.arc.azure.com",
            "guestnotificationservice.azure.com",
            "orders.servicebus.windows.net",
            "orders-prod-001-sb.servicebus.windows.net",
            "azgn-westeurope-public-1p-weuam3-010.servicebus.windows.net",
        ),
        NOTHING,
    ),
    Trap(
        "an administrator of the company's machines in a cloud: Session Manager, IAP, Bastion, Azure Arc",
        "unclear, of medium severity and on no list: monitored until somebody decides otherwise",
        lambda: o.opened(
            "ssmmessages.eu-central-1.amazonaws.com",
            "tunnel.cloudproxy.app",
            "bst-f594cc74-c21e-44c3-ad5e-5bb93933965f.bastion.azure.com",
            "azgnrelay-westeurope-l1.servicebus.windows.net",
        ),
        {
            ("unsanctioned", service, "unclear")
            for service in ("aws-ssm", "google-iap-tcp", "azure-bastion", "azure-arc")
        },
    ),
)
