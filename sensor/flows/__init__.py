"""Flows from segments and datagrams: their table, the heads of both directions in order, what is reported of them."""
