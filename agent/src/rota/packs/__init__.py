"""Packs: families of tasks, one folder each."""
