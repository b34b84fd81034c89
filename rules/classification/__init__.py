"""The verdict on an observation: what is a tunnel, whether it is sanctioned, how sure that is, in words."""
