"""Hosted personas: who may call what through which connection, at what cost, and the trail it leaves."""
