"""Any class of a Weaviate, whoever made it: searched and read, and never written to."""
