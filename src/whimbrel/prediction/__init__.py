"""From a data set to answers: features, training, the model file, and what serves it."""
