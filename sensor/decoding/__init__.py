"""Frames to segments and datagrams: the link layer, the headers, fragments put together."""
