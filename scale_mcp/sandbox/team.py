"""The people of an account: who belongs to its team, in which role, and who was invited but has not come yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scale_mcp.sandbox import decisions, ids
from scale_mcp.sandbox.workforce import make_pool

if TYPE_CHECKING:
    from collections.abc import Iterable
    from sqlite3 import Row

    from scale_mcp.sandbox.agenda import Event
    from scale_mcp.sandbox.sandbox import Sandbox

SCHEMA = """
CREATE TABLE IF NOT EXISTS teammates (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL,
    id TEXT NOT NULL,
    email TEXT NOT NULL COLLATE NOCASE,
    role TEXT NOT NULL,
    state TEXT NOT NULL,            -- active, invited or disabled
    first_name TEXT,
    last_name TEXT,
    expiry TEXT,
    UNIQUE (account_id, email)
);
"""


class Team:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox, self._store = sandbox, sandbox.store
        sandbox.agenda.on("invitation_accepted", self._on_accepted)

    def people(self, account_id: str) -> list[Row]:
        """The rows of an account's team in the order of joining. A new account starts with the sandbox's people."""
        query = "SELECT * FROM teammates WHERE account_id = ? ORDER BY position"
        rows = self._store.query(query, (account_id,))
        if rows:
            return rows
        with self._store.transaction():
            for email, role, state, first_name, last_name in self._founders():
                self._store.execute(
                    "INSERT INTO teammates (account_id, id, email, role, state, first_name, last_name)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (account_id, self._new_id(), email, role, state, first_name, last_name),
                )
        return self._store.query(query, (account_id,))

    def _founders(self) -> list[tuple[str, str, str, str, str]]:
        """Office people of every role, one of them disabled, and the simulated workforce as labelers."""
        admin, manager, member, former = decisions.FIRST_TEAM.value
        office = [
            (admin, "admin", "active", "Ada", "Admin"),
            (manager, "manager", "active", "Max", "Manager"),
            (member, "member", "active", "Mia", "Member"),
            (former, "member", "disabled", "Fay", "Former"),
        ]
        pool = make_pool(self._sandbox.options.workers, self._sandbox.options.seed)
        return office + [(worker.email, "labeler", "active", *_names(worker.email, "labeler")) for worker in pool]

    def _new_id(self) -> str:
        return ids.object_id(self._sandbox.clock.now())

    def active(self, account_id: str) -> dict[str, Row]:
        """The people who can work, by lower-case e-mail: neither invited nor disabled."""
        return {row["email"].lower(): row for row in self.people(account_id) if row["state"] == "active"}

    def invite(self, account_id: str, emails: Iterable[str], role: str) -> None:
        """Invite people, who accept in time (decisions.INVITE_AGAIN, INVITATION_ACCEPTED)."""
        sandbox, now = self._sandbox, self._sandbox.clock.now()
        account_no = sandbox.account_no(account_id)
        expiry = sandbox.clock.iso(now + decisions.INVITATION_LASTS.value)
        active = self.active(account_id)
        for email in emails:
            if email.lower() in active:
                continue
            self._store.execute(
                "INSERT INTO teammates (account_id, id, email, role, state, expiry) VALUES (?, ?, ?, ?, 'invited', ?)"
                " ON CONFLICT (account_id, email)"
                " DO UPDATE SET role = excluded.role, state = 'invited', expiry = excluded.expiry",
                (account_id, self._new_id(), email, role, expiry),
            )
            key = f"invitation:{account_no}:{email.lower()}"
            sandbox.agenda.cancel(key)
            due = now + decisions.INVITATION_ACCEPTED.value
            sandbox.agenda.schedule(due, "invitation_accepted", {"account": account_no, "email": email}, key=key)

    def _on_accepted(self, event: Event) -> None:
        account_id, email = self._sandbox.account_id(event.payload["account"]), event.payload["email"]
        row = next((row for row in self.people(account_id) if row["email"].lower() == email.lower()), None)
        if row is not None and row["state"] == "invited":
            self.add_active(account_id, row["email"], row["role"])

    def set_role(self, account_id: str, emails: Iterable[str], role: str) -> None:
        """Another role for people who are on the team; somebody disabled becomes active again."""
        for email in emails:
            self._store.execute(
                "UPDATE teammates SET role = ?, state = CASE state WHEN 'disabled' THEN 'active' ELSE state END"
                " WHERE account_id = ? AND email = ?",
                (role, account_id, email),
            )

    def add_active(self, account_id: str, email: str, role: str) -> None:
        """Make somebody an active teammate at once, as if an invitation had been accepted."""
        self.people(account_id)
        self._store.execute(
            "INSERT INTO teammates (account_id, id, email, role, state, first_name, last_name)"
            " VALUES (?, ?, ?, ?, 'active', ?, ?) ON CONFLICT (account_id, email)"
            " DO UPDATE SET role = excluded.role, state = 'active', first_name = excluded.first_name,"
            " last_name = excluded.last_name, expiry = NULL",
            (account_id, self._new_id(), email, role, *_names(email, role)),
        )


def _names(email: str, role: str) -> tuple[str, str]:
    """A first name as the e-mail has it, and the role as last name."""
    return email.partition("@")[0].partition(".")[0].capitalize(), role.capitalize()
