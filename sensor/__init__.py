"""Packets in, observations and detections out."""

import rules  # noqa: F401 - before any module of ours: it chooses between compiled modules and their sources
