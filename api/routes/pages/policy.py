"""The policy in force: what may be used, by whom, what was decided and blocked; and how to change it."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.dependencies import Context
from api.page.policy import make_policy
from api.page.render import Section, render

router = APIRouter()


@router.get("/policy")
def get_policy(context: Context, request: Request) -> HTMLResponse:
    """Return what the policy says, and forms to change what is not the file's."""
    return render(request, "policy.html", Section.POLICY, view=make_policy(context))
