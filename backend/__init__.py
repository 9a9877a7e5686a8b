"""Atelier's engine room: everything that makes pictures, and nothing that draws a page."""
