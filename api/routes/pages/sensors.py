"""Sensors: whether each sees traffic, keeps up, and loses nothing."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.dependencies import Context
from api.page.render import Section, origin_of, render
from api.page.sensor_cards import make_card
from api.routes.sensors import rules_of

router = APIRouter()


@router.get("/sensors")
def get_sensors(context: Context, request: Request) -> HTMLResponse:
    """Return every sensor's state and figures."""
    now_ns = context.now_ns()
    rules = rules_of(request)
    cards = [make_card(row, now_ns, rules.state_of(row, now_ns)) for row in context.store.sensors()]
    return render(request, "sensors.html", Section.SENSORS, cards=cards, origin=origin_of(request))
