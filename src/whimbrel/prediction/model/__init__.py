"""What a trained model is: its features, its scorer, its file."""
