"""The tables of the reports pack, as they came to be."""
