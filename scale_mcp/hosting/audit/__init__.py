"""The trail of what was called and changed: intents and outcomes in one chain of hashes."""
