"""What is held back of flow heads, since nothing can come of it: the pipeline sees of a flow all or nothing."""
