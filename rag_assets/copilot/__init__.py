"""The copilot: a question in, evidence from tools, an answer with numbered citations out."""
