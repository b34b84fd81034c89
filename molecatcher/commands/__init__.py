"""The commands: each a module that reads options, calls what does the work, and prints."""
