"""Packets in, observations and detections out."""
