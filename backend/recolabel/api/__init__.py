"""The HTTP server: the only package that imports FastAPI. Handlers parse, make one call, and answer."""
