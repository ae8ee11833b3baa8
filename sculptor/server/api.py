"""The management API: what people and their programs see of sessions, and do to them.

Nothing of another tenant is ever visible: what is not the caller's is not there, by whichever name
it is asked for. Reads run in threads; what changes a lane goes through ``Lanes``, so that it is
written before it is answered, and a lane that moved meanwhile is read again once before the caller
hears of it.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal, NoReturn
from urllib.parse import unquote

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from sculptor.errors import StaleHead
from sculptor.loop import Surroundings
from sculptor.loop.drive import local_answer
from sculptor.server import api_models as models
from sculptor.server.api_rows import (
    fragment_row,
    lane_row,
    operation_row,
    receipt_row,
    session_row,
    usage_totals,
)
from sculptor.server.diff import diff_of
from sculptor.server.edits import Edited, edit
from sculptor.server.envelope import ApiError
from sculptor.server.export import export_json, export_markdown
from sculptor.server.lanes import Lanes, lane_of
from sculptor.server.live_lane import LiveLane
from sculptor.store.records import DeleteSession, Session, SessionId, TenantId
from sculptor.tools import ToolAnswer, Work
from sculptor.tools import api_answers as answers
from sculptor.tools.arguments import FullSearch
from sculptor.tools.search import full_search


async def tenant_of(request: Request) -> TenantId:
    """Return the tenant whose key the request bears."""
    return TenantId(request.state.caller.tenant)


Tenant = Annotated[TenantId, Depends(tenant_of)]
SessionName = Annotated[
    str,
    Path(
        description="The session's ID, or the name that its client gave it, as in x-session-id. "
        "A slash in a name is written %252F, a percent sign %2525."
    ),
]
LaneName = Annotated[str | None, Query(description="The lane; without it the one used last.")]
Limit = Annotated[int, Query(ge=1, le=1_000)]
Offset = Annotated[int, Query(ge=0, le=2**53 - 1)]  # exact in every reader of the API's document
Newest = Annotated[int, Query(ge=1, le=10_000, description="So many of the newest.")]
Format = Annotated[Literal["json", "markdown"], Query(description="What to write.")]


def api_router(lanes: Lanes) -> APIRouter:
    """Return the routes under ``/api`` over one server's lanes."""
    api = _Api(lanes)
    errors: dict[int | str, dict[str, Any]] = {
        "4XX": {"model": models.ErrorAnswer, "description": "What was wrong, in words."}
    }
    router = APIRouter(prefix="/api/sessions", tags=["sessions"], responses=errors)

    def add(method: str, path: str, endpoint: Callable[..., Any], model: Any) -> None:
        router.add_api_route(
            path,
            endpoint,
            methods=[method],
            response_model=model,
            operation_id=endpoint.__name__,
        )

    add("GET", "", api.list_sessions, answers.SessionList)
    add("GET", "/{session_id}", api.show_session, answers.SessionAnswer)
    add("DELETE", "/{session_id}", api.delete_session, answers.DeletedAnswer)
    add("GET", "/{session_id}/fragments", api.list_fragments, answers.FragmentList)
    add("GET", "/{session_id}/operations", api.list_operations, answers.OperationList)
    add("POST", "/{session_id}/operations", api.perform_operation, answers.OperationAnswer)
    add("GET", "/{session_id}/view", api.show_view, answers.ViewAnswer)
    add("GET", "/{session_id}/diff", api.show_diff, answers.DiffAnswer)
    add("POST", "/{session_id}/search", api.search_session, answers.SearchAnswer)
    router.add_api_route(
        "/{session_id}/export",
        api.export_session,
        operation_id="export_session",
        response_class=Response,
        responses={200: {"content": {"application/json": {}, "text/markdown": {}}}},
    )
    return router


class _Api:
    """The endpoints; their docstrings are the API's documentation."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes, self._store = lanes, lanes.store

    # Sessions

    def list_sessions(
        self, tenant: Tenant, limit: Limit = 100, offset: Offset = 0
    ) -> answers.SessionList:
        """List sessions, last used first."""
        rows = [
            session_row(each) for each in self._store.sessions(tenant, limit=limit, offset=offset)
        ]
        return answers.SessionList(sessions=rows, limit=limit, offset=offset)

    def show_session(self, tenant: Tenant, session_id: SessionName) -> answers.SessionAnswer:
        """Show one session: its lanes and what its upstream calls cost."""
        session = self._session(tenant, session_id)
        return answers.SessionAnswer(
            id=session.id,
            created=session.created,
            used=session.used,
            lanes=[lane_row(lane) for lane in self._store.lanes(tenant, session.id)],
            usage=usage_totals(self._store.usage(tenant, session.id)),
        )

    async def delete_session(
        self, tenant: Tenant, session_id: SessionName
    ) -> answers.DeletedAnswer:
        """Delete a session with all that only it uses; this cannot be undone."""
        session = await asyncio.to_thread(self._session, tenant, session_id)
        record = DeleteSession(tenant=tenant, id=session.id)
        await asyncio.wrap_future(self._store.write([record]))
        self._lanes.forget_session(tenant, session.id)
        return answers.DeletedAnswer(id=session.id)

    # One lane

    def list_fragments(
        self, tenant: Tenant, session_id: SessionName, lane: LaneName = None
    ) -> answers.FragmentList:
        """List the fragments of the present messages, in reading order."""
        live = self._open(tenant, session_id, lane)
        rows = [fragment_row(live.context, leaf) for leaf in live.context.fragments()]
        return answers.FragmentList(**_of(live), fragments=rows)

    def list_operations(
        self, tenant: Tenant, session_id: SessionName, lane: LaneName = None, limit: Newest = 1_000
    ) -> answers.OperationList:
        """List the operations that lead to the lane's version, newest first."""
        session = self._session(tenant, session_id)
        found = lane_of(self._store, tenant, session.id, lane) or _no_lane(session.id, lane)
        made = self._store.operations(tenant, session.id, found.version, limit=limit)
        return answers.OperationList(
            session=session.id,
            lane=found.id,
            version=found.version,
            operations=[operation_row(operation) for operation in made],
        )

    def show_view(self, tenant: Tenant, session_id: SessionName, lane: LaneName = None) -> Response:
        """Show the messages as a model is shown them."""
        live = self._open(tenant, session_id, lane)
        view = live.context.view()
        value = {
            **_of(live),
            "tokens": view.tokens,
            "original_tokens": live.context.total_tokens,
            "unchanged": view.unchanged,
            "messages": [orjson.Fragment(wire) for wire in view.messages],
        }
        return Response(orjson.dumps(value), media_type="application/json")

    def show_diff(
        self, tenant: Tenant, session_id: SessionName, lane: LaneName = None
    ) -> answers.DiffAnswer:
        """Show each message that the view changes: as it came and as it is shown."""
        live = self._open(tenant, session_id, lane)
        return answers.DiffAnswer(
            **_of(live),
            tokens_before=live.context.total_tokens,
            tokens_after=live.context.tokens,
            messages=diff_of(live.context),
        )

    def search_session(
        self,
        tenant: Tenant,
        session_id: SessionName,
        body: models.SearchAsked,
        lane: LaneName = None,
    ) -> answers.SearchAnswer:
        """Search the originals of the present messages, hidden text included."""
        live = self._open(tenant, session_id, lane)
        work = full_search(live.context, FullSearch(**body.model_dump()))
        answer = self._finish(tenant, work)
        return answers.SearchAnswer(**_of(live), results=answer["results"])

    async def perform_operation(
        self, tenant: Tenant, session_id: SessionName, body: models.OperationBody
    ) -> answers.OperationAnswer:
        """Fold, restore, pin, unpin, cut or undo; the record says that a person did it."""
        try:
            live, edited = await self._edit(tenant, session_id, body)
        except StaleHead:
            live, edited = await self._edit(tenant, session_id, body)
        return answers.OperationAnswer(
            **_of(live),
            operation=edited.receipt.undo,
            fragments=list(edited.fragments),
            receipt=receipt_row(edited.receipt),
        )

    def export_session(
        self, tenant: Tenant, session_id: SessionName, format: Format = "json"
    ) -> Response:
        """Write a whole session out, all lanes, as JSON or as Markdown."""
        session = self._session(tenant, session_id)
        lanes = self._store.lanes(tenant, session.id)
        lives = [self._lanes.resume(tenant, session, lane) for lane in lanes]
        is_json = format == "json"
        name = f"{session.id}.{'json' if is_json else 'md'}"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        if is_json:
            body = export_json(self._store, session, lives)
            return Response(body, media_type="application/json", headers=headers)
        text = export_markdown(self._store, session, lives)
        return Response(text, media_type="text/markdown", headers=headers)

    # Inside

    def _session(self, tenant: TenantId, name: str) -> Session:
        name = unquote(name)
        found = self._lanes.sessions_called(tenant, name)
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(session.id for session in found)
            message = f"Several sessions were named {name!r}; give the ID of one: {ids}."
            raise ApiError(409, message, code="session_ambiguous", param="session_id")
        message = f"No session {name!r} here; give its ID, or the name that its client gave it."
        raise ApiError(404, message, code="session_not_found", param="session_id")

    def _open(self, tenant: TenantId, name: str, lane: str | None) -> LiveLane:
        session = self._session(tenant, name)
        found = lane_of(self._store, tenant, session.id, lane) or _no_lane(session.id, lane)
        return self._lanes.resume(tenant, session, found)

    async def _edit(
        self, tenant: TenantId, name: str, body: models.OperationBody
    ) -> tuple[LiveLane, Edited]:
        live = await asyncio.to_thread(self._open, tenant, name, body.lane)
        edited = await asyncio.to_thread(edit, live.context, body)
        if edited.receipt.undo:
            await self._lanes.save(live)
        return live, edited

    def _finish(self, tenant: TenantId, work: Work) -> ToolAnswer:
        surroundings = Surroundings(
            ranked=lambda need: self._store.ranked(
                tenant, need.hashes, need.query, limit=need.limit
            )
        )
        answer: Any = None
        while True:
            try:
                need = work.send(answer)
            except StopIteration as stop:
                found: ToolAnswer = stop.value
                return found
            answer = local_answer(need, surroundings)


def _no_lane(session: SessionId, name: str | None) -> NoReturn:
    what = f"lane {name!r}" if name else "lanes"
    raise ApiError(404, f"Session {session} has no {what}.", code="lane_not_found", param="lane")


def _of(live: LiveLane) -> dict[str, str]:
    return {
        "session": live.session.id,
        "lane": live.lane.id,
        "version": live.context.version,
    }
