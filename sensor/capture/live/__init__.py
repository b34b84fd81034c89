"""Packets of interfaces: sockets with or without a ring, on interfaces that come and go, in several namespaces."""
