"""Search, documents and the models over HTTP: a page, an API, and the protocols of others."""
