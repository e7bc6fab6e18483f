"""Verifiers: from a completion to a verdict with three states. They never raise and never guess."""

from goldpanner.verify.base import Verifier
from goldpanner.verify.chain import ChainAnswer, ChainFormat, ChainProcess
from goldpanner.verify.code import Code
from goldpanner.verify.countdown import Countdown
from goldpanner.verify.exact import Exact
from goldpanner.verify.gym import ReasoningGym
from goldpanner.verify.math import Math, Number
from goldpanner.verify.reward import Reward, load_reward
from goldpanner.verify.sandbox.running import Limits

__all__ = [
    "ChainAnswer",
    "ChainFormat",
    "ChainProcess",
    "Code",
    "Countdown",
    "Exact",
    "Limits",
    "Math",
    "Number",
    "ReasoningGym",
    "Reward",
    "Verifier",
    "load_reward",
]
