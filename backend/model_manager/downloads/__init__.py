"""Models fetched from a hub or an address."""
