"""What callers send, with its bounds: parameters, bodies, forms, and where a page of rows begins."""
