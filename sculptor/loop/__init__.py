"""The orchestrator: model, tool calls, model, until an answer for the client stands."""

from sculptor.loop.drive import (
    BlockingModel,
    Event,
    Model,
    Surroundings,
    deltas_of,
    drive,
    drive_blocking,
    relay,
)
from sculptor.loop.overflow import fold_to_fit, view_room
from sculptor.loop.report import told_context, told_usage
from sculptor.loop.requests import (
    ClientRequest,
    MessageCache,
    ModelRequest,
    StandDown,
    check_request,
    model_request,
    read_request,
)
from sculptor.loop.turn import Billed, Budget, Turn, pass_through, run_turn, turn_of

__all__ = [
    "Billed",
    "BlockingModel",
    "Budget",
    "ClientRequest",
    "Event",
    "MessageCache",
    "Model",
    "ModelRequest",
    "StandDown",
    "Surroundings",
    "Turn",
    "check_request",
    "deltas_of",
    "drive",
    "drive_blocking",
    "fold_to_fit",
    "model_request",
    "pass_through",
    "read_request",
    "relay",
    "run_turn",
    "told_context",
    "told_usage",
    "turn_of",
    "view_room",
]
