"""The errors of this package.

RulesError
├── InvalidName            a string that cannot be a host name
├── InvalidCatalogue       a service file that cannot be used
└── InvalidPolicy          a policy file that cannot be used
"""


class RulesError(Exception):
    """Base of everything this package raises on purpose."""


class InvalidName(RulesError):
    """A string that cannot be a host name."""


class InvalidCatalogue(RulesError):
    """A service file that cannot be used; the message names file, key and fix."""


class InvalidPolicy(RulesError):
    """A policy that cannot be used; the message names file, key and fix. `key` and `detail` are its parts."""

    def __init__(self, message: str, *, key: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.key = key
        self.detail = detail or message
