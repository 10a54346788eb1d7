"""The session as a sans-I/O machine: events in, commands out. No sockets, no clocks, no asyncio, no randomness."""
