"""The Store on a Weaviate server: the only room that knows its client."""
