"""How the starter checkpoint was made: its pictures, its training, its score."""
