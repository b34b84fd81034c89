"""What the organisation says: the policy file, what people changed beside it; the rules in force."""
