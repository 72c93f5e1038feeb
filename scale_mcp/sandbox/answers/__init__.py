"""What the sandbox's labellers answer: fabricated in test mode, truth plus stated noise in live mode."""

from scale_mcp.sandbox.answers.dispatch import live_answer, test_answer
from scale_mcp.sandbox.answers.paper import Answer, ResponseFile

__all__ = ["Answer", "ResponseFile", "live_answer", "test_answer"]
