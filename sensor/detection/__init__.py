"""Observations judged by the rules: detections with their packets, and what is remembered to judge later ones."""
