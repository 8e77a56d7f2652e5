"""The history of the tables: one file in `versions` for each released revision. A released file never changes."""
