"""What an agent sees: one module per toolset, each tool a typed function with its card."""
