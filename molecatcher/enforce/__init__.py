"""Local enforcement: an nftables table of our own that refuses what an address list names (docs/enforcement.md).

prefixes   the list as it was read: prefixes, or one sentence why it cannot be used
protection what this host must never lose: its addresses, gateways, resolvers, the administrator's session
ruleset    the plan as nftables text, one transaction
nftables   the `nft` program
"""
