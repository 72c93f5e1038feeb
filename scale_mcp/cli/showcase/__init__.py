"""The demo's parts: the session that calls and records, the receiver of callbacks, the stages, and how it is shown."""
