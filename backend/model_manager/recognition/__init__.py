"""What a file is, read off its header."""
