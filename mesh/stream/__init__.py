"""Pictures to viewers: persistent encoders and WebRTC."""
