"""Takes over the reads of Open WebUI 0.6.41 to 0.6.43: synchronous functions, and settings in one JSON document."""
