"""What answers over HTTP and WebSocket."""
