"""What is written in C for Python: packets judged, read and held back where they lie; each module has a stub."""
