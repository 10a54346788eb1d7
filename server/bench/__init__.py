"""What `parley bench` does: asks Realtime servers recorded questions, and tells where the milliseconds of a turn go."""
