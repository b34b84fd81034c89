"""What sensors report: events with their packets, written, found and counted; the heartbeats."""
