"""The documents that the API answers with, a module a subject, for its OpenAPI description."""
