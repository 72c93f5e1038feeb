"""Every module that declares tables. Importing this one makes ``metadata`` complete, as migrations and tests need it."""

from __future__ import annotations
