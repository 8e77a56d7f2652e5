"""The history of the tables: one file in `versions` for each revision that was ever released, never changed after."""
