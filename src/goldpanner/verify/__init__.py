"""Verifiers: from a completion to a verdict with three states. They never raise and never guess."""

from goldpanner.verify.base import Verifier
from goldpanner.verify.chain import ChainAnswer, ChainProcess
from goldpanner.verify.exact import Exact

__all__ = ["ChainAnswer", "ChainProcess", "Exact", "Verifier"]
