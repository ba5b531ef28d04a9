"""The Model Context Protocol: a language model asks for passages of the stored documents."""
