"""The policy in force: what may be used, by whom, what was decided and blocked; and how to change it."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.dependencies import Context
from api.page.policy import make_policy
from api.page.render import Section, render
from api.policy.preview import make_preview
from api.requests.bodies import DraftBody
from api.veil import Shown

router = APIRouter()


@router.get("/policy")
def get_policy(context: Context, request: Request) -> HTMLResponse:
    """Return what the policy says, and forms to change what is not the file's."""
    return render(request, "policy.html", Section.POLICY, view=make_policy(context))


@router.post("/policy/preview")
def preview_policy(body: DraftBody, context: Context, veil: Shown, request: Request) -> HTMLResponse:
    """Return what a change would do as a part of a page, to whoever fills in a form."""
    effects = make_preview(body, context, veil, shows_findings=True)
    return render(request, "policy_preview.html", None, effects=effects)
