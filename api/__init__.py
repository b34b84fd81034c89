"""HTTP: events, findings, feeds for firewalls, health, metrics and the page."""
