"""The report: one HTML page drawn from what a run keeps. It holds no numbers of its own: delete it, draw it again."""
