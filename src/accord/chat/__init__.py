"""Talking to policies in a terminal."""
