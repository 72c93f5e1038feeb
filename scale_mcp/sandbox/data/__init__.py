"""The shipped data set: a few small real pictures and other material, with truth checked by hand or exact by making.

Files are recognised by the SHA-256 of their bytes. ``LICENSES.md`` says where each comes from and under what terms.
"""

from scale_mcp.sandbox.data.loading import PICTURES, Picture, Served, catalog, known, read

__all__ = ["PICTURES", "Picture", "Served", "catalog", "known", "read"]
