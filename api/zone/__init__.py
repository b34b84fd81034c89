"""The response policy zone as a zone: SOA, AXFR, IXFR and NOTIFY for resolvers that are its secondaries.

`answers` and `notices` are sans-I/O: bytes and who sent them in, bytes out. `server` has the sockets.
"""
