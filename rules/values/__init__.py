"""What packages hand on: observation, verdict, event, who is behind a source, what a sensor says of itself."""
