"""The errors of this package.

ApiError
├── Problem                an answer other than success, as RFC 9457 describes it (`api.problems`)
├── RefusedListenAddress   an address the server must not listen on
├── RefusedLogout          a token of the provider that ends nobody's session
├── RefusedSignIn          a sign-in that proves nothing, or not enough
│   └── UnprovenSignIn     one of somebody whom the provider knows
├── SealBroken             secrets that were sealed with another key
├── UnusableAccessConfig   an access configuration that says what cannot be
├── UnusableCertificate    a certificate or key that TLS cannot use
└── UnrenderableSnapshot   a snapshot that a feed format cannot carry; firewalls keep the list they have
"""


class ApiError(Exception):
    """Base of everything this package raises on purpose."""


class RefusedListenAddress(ApiError):
    """An address the server must not listen on; the message says what to give instead."""


class UnrenderableSnapshot(ApiError):
    """A snapshot that a feed format cannot carry; the message names the entry."""


class UnusableCertificate(ApiError):
    """A certificate or key that TLS cannot use; the message says what to give instead."""


class SealBroken(ApiError):
    """Secrets that were sealed with another key; the message says what to do."""


class UnusableAccessConfig(ApiError):
    """An access configuration that says what cannot be; the message names the place."""


class RefusedSignIn(ApiError):
    """A sign-in that proves nothing, or not enough; the message says what is missing and holds no secret."""


class UnprovenSignIn(RefusedSignIn):
    """A sign-in of somebody whom the provider knows that was not strong or fresh enough, or without a role here."""

    def __init__(self, message: str, *, issuer: str, subject: str, name: str) -> None:
        super().__init__(message)
        self.issuer = issuer
        self.subject = subject
        self.name = name


class RefusedLogout(ApiError):
    """A token of the provider that ends nobody's session; the message says why and holds nothing of it."""
