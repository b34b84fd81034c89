"""The routes, one module a resource. A handler parses, asks and returns."""
