"""`measure`, `compare` and `plan`: from counts to a verdict."""
