"""Full-text search over everything that runs say: one interface, and an index of its own in each database."""
