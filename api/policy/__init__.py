"""What people change of the policy: whether it can be said, what it would do, and how sensors elsewhere take it."""
