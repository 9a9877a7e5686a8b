"""What model files there are, what they say they are, and which of them is loaded."""
