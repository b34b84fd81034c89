"""HTTP: events, findings, feeds and the page."""
