"""Captures and logs that are read instead of watched."""
