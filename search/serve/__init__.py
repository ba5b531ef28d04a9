"""The models behind HTTP, as Weaviate's modules for vectors and reranking call them."""
