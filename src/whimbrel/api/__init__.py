"""The verbs as functions. ``import whimbrel`` has them all; each is imported when it is asked for first."""
