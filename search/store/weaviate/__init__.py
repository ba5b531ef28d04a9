"""The Store on a Weaviate server: the only package that imports its client."""
