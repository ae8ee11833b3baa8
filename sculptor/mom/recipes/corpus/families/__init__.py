"""Families of scenes, each a module that draws one from a random state and a size in characters."""
