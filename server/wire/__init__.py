"""The dialects of the protocol: decode and encode, nothing else. Nowhere else is a dialect mentioned."""
