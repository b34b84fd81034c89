"""Names under which a registry lets everybody register names (publicsuffix.org)."""

from functools import lru_cache

from publicsuffixlist import PublicSuffixList


def is_public_suffix(name: str) -> bool:
    """Tell whether strangers have names right below `name`: a registry's (`co.uk`) or a provider's (`ngrok.io`)."""
    return bool(_everybody().publicsuffix(name) == name)


def is_registry_suffix(name: str) -> bool:
    """Tell whether `name` is a registry's own, such as `com` or `co.uk`; names of tunnel providers are none."""
    return bool(_registries().publicsuffix(name, keep_case=True) == name)  # a quarter of the time: names are folded


@lru_cache(maxsize=1)
def _everybody() -> PublicSuffixList:
    return PublicSuffixList()


@lru_cache(maxsize=1)
def _registries() -> PublicSuffixList:
    return PublicSuffixList(only_icann=True)
