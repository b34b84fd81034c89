"""The policy in force: what may be used, and what was decided."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.dependencies import Context
from api.page.render import Section, render

router = APIRouter()


@router.get("/policy")
def get_policy(context: Context, request: Request) -> HTMLResponse:
    """Return what the policy says."""
    return render(request, "policy.html", Section.POLICY, policy=context.policy_status())
