"""What Scale's API sends and takes, as pydantic models."""
