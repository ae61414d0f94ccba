"""Erasing: rows, what quotes them, and the bytes that they leave behind."""
