"""Configuration, state and the language model made of Mixture-of-Memories blocks."""
