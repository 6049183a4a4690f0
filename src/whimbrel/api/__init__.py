"""The verbs as functions. ``import whimbrel`` has them all; each is imported on first use."""
