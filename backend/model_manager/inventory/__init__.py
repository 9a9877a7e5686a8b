"""What lies in the model folders, and what is remembered of it."""
