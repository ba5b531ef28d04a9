"""The command on the PATH: `two-stage ingest`, `two-stage search`, and what is in the store."""
