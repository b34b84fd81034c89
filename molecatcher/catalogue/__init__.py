"""The catalogue in force: what came with the program, its signed updates, additions of one's own."""
