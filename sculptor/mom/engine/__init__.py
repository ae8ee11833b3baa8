"""What runs a model turn by turn: feed tokens, generate, take the state back, branch it."""
