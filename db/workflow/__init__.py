"""What people decide and set up over the API: policy, saved searches, outputs; answers to repeated requests."""
