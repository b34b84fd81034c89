"""Which packets of a flow are handed out and which are only counted: in the kernel, or in the program."""
