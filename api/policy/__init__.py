"""The policy as people see and change it: what it holds, what a change would do, and how sensors elsewhere take it."""
