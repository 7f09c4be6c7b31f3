"""Who may send what to whom: evidence, then rules, then a verdict with a named reason."""

from posthouse.policy.policy import Policy
from posthouse.policy.verdict import Question, Verdict

__all__ = ["Policy", "Question", "Verdict"]
