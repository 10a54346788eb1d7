"""Sessions over WebRTC: a data channel for the events, a track each way for the sound."""
