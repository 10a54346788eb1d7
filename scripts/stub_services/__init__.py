"""Stages of fixed delay behind OpenAI's HTTP API, so that what stands in front of them can be compared."""
