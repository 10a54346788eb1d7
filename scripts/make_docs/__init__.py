"""Writes the documents that are made from the code: `python -m scripts.make_docs` (`make docs`)."""
