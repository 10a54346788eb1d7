"""Measures how soon speech begins, and whether it runs dry."""
