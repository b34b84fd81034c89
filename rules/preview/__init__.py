"""What a change of the rules would do, before it is made: to the policy, to block lists, to events that are stored."""
