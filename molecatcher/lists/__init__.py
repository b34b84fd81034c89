"""Block lists: built, guarded, numbered, kept, and pulled by hosts that cannot pull by themselves."""
