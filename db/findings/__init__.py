"""What events add up to: findings, kept up with the events, and their history."""
