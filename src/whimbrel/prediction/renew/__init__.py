"""Fresh data, a new model, and the endpoint that takes it only if it may."""
