"""Many pictures from one request: plots over values, prompt matrices, and lists of prompts."""
