"""What runs for long: sensor, API, attribution, and the supervisor that keeps them running."""
