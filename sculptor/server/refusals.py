"""Whether an upstream refused a request because of our tools.

Law 7: a client that brought no tools is not to learn that its upstream takes none.
"""

from sculptor.errors import UpstreamStatus
from sculptor.loop.refusal import may_refuse_tools, speaks_of_tools
from sculptor.server.live_lane import LaneName, LiveLane
from sculptor.server.planning import Exchange, Plan


def holds_our_tools(exchange: Exchange, plan: Plan) -> bool:
    """Whether definitions of our tools go upstream with a plan."""
    call, theirs = plan.call, exchange.request.client_tools
    return plan.turn is not None or (call is not None and len(call.tools) > len(theirs))


def may_be_our_tools(exchange: Exchange, plan: Plan, error: UpstreamStatus) -> bool:
    """Whether a refusal may be due to tools of ours."""
    return holds_our_tools(exchange, plan) and may_refuse_tools(error.status, error.body)


def takes_no_tools(exchange: Exchange, live: LiveLane, error: UpstreamStatus) -> bool:
    """Whether an upstream says that it takes no tools at all.

    It did take them where it called some, and beside a client's own ours may be too many.
    """
    is_first = not live.context.open_steps()
    return is_first and not exchange.request.client_tools and speaks_of_tools(error.body)


def lane_and_model(exchange: Exchange, live: LiveLane) -> tuple[LaneName, str]:
    """Return under what a refusal is remembered: no other conversation has a say."""
    return live.name, exchange.request.model
