"""The hosted server: one seat per persona, found by the verified caller of each request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mcp.types as t
from mcp import MCPError
from mcp.server.request_state import RequestStateSecurity

from scale_mcp.hosting.scopes import allows
from scale_mcp.server.build import assemble
from scale_mcp.server.consent import LIFETIME
from scale_mcp.server.guard import Context
from scale_mcp.server.hosted.desk import PersonaDesk
from scale_mcp.server.hosted.listening import SessionWatches, listening
from scale_mcp.server.hosted.named_answers import name_errors
from scale_mcp.server.hosted.reading import PersonaReading
from scale_mcp.server.hosted.visit import current_visit, visit_of_this_request
from scale_mcp.server.offers import Offers
from scale_mcp.server.seats import Seat
from scale_mcp.server.selection import Selection, select
from scale_mcp.server.shortcut import Shortcut, ShortcutServer
from scale_mcp.server.surface import ToolSurface
from scale_mcp.tools.registry import hosted_cards

if TYPE_CHECKING:
    from scale_mcp.hosting.house import House
    from scale_mcp.hosting.personas import Caller, Persona
    from scale_mcp.settings import Settings

REMEMBERED = 2_000  # personas whose seats are kept ready


@dataclass(frozen=True)
class PersonaSeat(Seat):
    """A seat, and the record of the persona that it was made for."""

    persona: Persona


class PersonaSeats:
    """Makes and keeps the seats. The operator's own selection is an upper bound: a persona's scopes only narrow it."""

    def __init__(self, house: House, settings: Settings) -> None:
        self._house = house
        self._settings = settings
        self._selection = select(hosted_cards(), settings)
        self._seats: OrderedDict[str, PersonaSeat] = OrderedDict()

    async def of(self, ctx: Context) -> Seat:
        visit = current_visit()
        if visit is None:
            raise MCPError(code=t.INVALID_REQUEST, message="Nobody is signed in.")
        return self.seat_of(visit.signed_in.caller)

    def seat_of(self, caller: Caller) -> PersonaSeat:
        """The seat for the persona as it is on this very request; one made for an older record is thrown away."""
        persona = caller.persona
        self._house.accounts.seen(caller.revision)
        seat = self._seats.get(persona.id)
        if seat is None or seat.persona != persona:
            seat = self._seats[persona.id] = self._made(persona)
            if len(self._seats) > REMEMBERED:
                self._seats.popitem(last=False)
        self._seats.move_to_end(persona.id)
        return seat

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        """No tool asks for headers of its own, so there is nothing to check, and nothing that tells names apart."""
        return None

    def _made(self, persona: Persona) -> PersonaSeat:
        desk = PersonaDesk(self._house, persona, self._settings)
        offered = {
            name: card
            for name, card in self._selection.cards.items()
            if allows(persona, name, card.toolset, card.risk) and desk.confinement.offers(card)
        }
        selection = Selection(offered)
        offers = Offers(selection, PersonaReading(self._house, persona, desk, self._settings))
        return PersonaSeat(ToolSurface(selection, desk, self._settings), offers, persona)


def hosted_server(house: House, settings: Settings) -> tuple[ShortcutServer, SessionWatches]:
    """The server of all personas over an opened house, and what tells its sessions the news while it runs."""
    seats = PersonaSeats(house, settings)
    server = assemble(seats, listening(house), shared_seal(house), list_scope="private")
    server.shortcut = Shortcut(server, lambda scope: _seat_here(seats))
    watches = SessionWatches(house)
    watches.mount(server)
    server.middleware.insert(0, name_errors)
    return server, watches


def _seat_here(seats: PersonaSeats) -> Seat | None:
    visit = current_visit()
    return None if visit is None else seats.seat_of(visit.signed_in.caller)


def shared_seal(house: House) -> RequestStateSecurity:
    """Seals the state between the halves of a question with a key that every replica has, bound to the principal."""

    def caller(ctx: Context) -> str | None:
        return "\n".join(visit_of_this_request().signed_in.principal)

    policy = RequestStateSecurity(keys=[house.vault.derive("request states")], ttl=LIFETIME)
    policy.bind_principal = caller
    return policy
