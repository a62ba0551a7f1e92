"""Thought behind the commands of fabfile.py: plain values in, plain values out, contact with hosts at the edges."""
