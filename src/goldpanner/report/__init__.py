"""The report: one HTML page drawn from what a run keeps. It holds no numbers of its own: delete it, draw it again."""

from goldpanner.report.page import Section, render
from goldpanner.report.pages.run import build, picture

__all__ = ["Section", "build", "picture", "render"]
