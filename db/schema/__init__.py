"""The tables, and how a file of an earlier version is brought to them."""
