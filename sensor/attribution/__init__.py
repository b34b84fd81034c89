"""Who is behind a flow: sockets and processes of this host, leases and neighbours for forwarded flows."""
