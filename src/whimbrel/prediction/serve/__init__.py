"""A model behind HTTP: who may ask, what it answers, and how it is replaced."""
