"""What all tables share. Each concern declares its own tables on this metadata, beside the code that uses them.

Times are text in UTC with microseconds and a Z (``scale_mcp.hosting.clock.stamp``), which sort as they are and read
the same in SQLite and PostgreSQL. Ids are text (``scale_mcp.hosting.ids.new_id``).
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# One row. Its number grows with every change of a persona, token, connection or rule, so that a process that has seen
# the number before knows that what it remembers still holds.
revision = sa.Table(
    "revision",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
)
