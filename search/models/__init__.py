"""What is known of a model from its files alone: folder, weights, tokens, identity."""
