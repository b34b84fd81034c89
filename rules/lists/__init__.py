"""Block lists: made of catalogue, policy and findings, compared, guarded, encoded."""
