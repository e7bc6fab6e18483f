"""Foreign formats: one file each, with its own recogniser."""
