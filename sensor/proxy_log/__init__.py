"""Proxy logs in, observations out: behind a proxy the sensor sees only the proxy, the proxy's log names the host."""
