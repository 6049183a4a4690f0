"""From a data set to a model file and its report."""
