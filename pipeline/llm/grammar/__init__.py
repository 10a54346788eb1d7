"""Grammars (GBNF, as llama.cpp reads it) that hold a model to a call's form, made from the JSON schemas of tools."""
