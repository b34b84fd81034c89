"""The errors of outputs.

DeliveryFailed             an event was not taken: try again later
└── RefusedTarget          the target's address must not be spoken to
"""


class DeliveryFailed(Exception):
    """The other side did not take the events; the message says why. It never holds a secret."""


class RefusedTarget(DeliveryFailed):
    """The target has an address that outputs must not speak to."""
