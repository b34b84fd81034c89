"""Outputs: where events go by themselves, and the programs that may call back."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.dependencies import Context
from api.page.outputs import make_outputs
from api.page.render import Section, render
from rules.values.verdict import Outcome, Severity

router = APIRouter()


@router.get("/outputs")
def get_outputs(context: Context, request: Request) -> HTMLResponse:
    """Return every output with how it goes, forms to make one of each kind, and the programs that may call back."""
    return render(
        request,
        "outputs.html",
        Section.OUTPUTS,
        view=make_outputs(context),
        verdicts=(Outcome.UNSANCTIONED, Outcome.SUSPICIOUS, Outcome.SANCTIONED),
        severities=tuple(Severity),
    )
