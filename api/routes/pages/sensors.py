"""Sensors: whether each sees traffic, keeps up, and loses nothing."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.dependencies import Context
from api.page.render import Section, render
from api.page.sensor_cards import make_card

router = APIRouter()


@router.get("/sensors")
def get_sensors(context: Context, request: Request) -> HTMLResponse:
    """Return every sensor's state and figures."""
    now_ns = context.now_ns()
    cards = [make_card(status, now_ns) for status in context.store.sensors()]
    return render(request, "sensors.html", Section.SENSORS, cards=cards)
