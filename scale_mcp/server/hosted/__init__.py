"""The hosted server's doors: who comes in, what they are told, and what the operator sees."""
