"""What a turn is made of: stages, their engines and the line that joins them.

Nothing in here knows of a network server or of a protocol; see docs/architecture.md.
"""
