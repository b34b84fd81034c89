"""The formats of block lists: one small module for each consumer, all listed in `api.feeds.registry`."""
