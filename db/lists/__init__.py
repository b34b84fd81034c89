"""What block lists leave in the store: published snapshots, who pulled them, answers for the names on them."""
