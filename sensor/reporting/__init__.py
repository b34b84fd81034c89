"""Detections to events, and these on disk until the store has them."""
