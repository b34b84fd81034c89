"""Profiles of the lists: what each holds, and forms to make one and to see first what it would hold."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.dependencies import Context
from api.page.profiles import make_profiles
from api.page.render import Section, render
from api.policy.profiles import profile_effects
from api.requests.bodies import ProfileBody

router = APIRouter()


@router.get("/profiles")
def get_profiles(context: Context, request: Request) -> HTMLResponse:
    """Return every profile with what it chooses and holds."""
    return render(request, "profiles.html", Section.LISTS, view=make_profiles(context))


@router.post("/profiles/{name}/preview")
def preview_profile(
    name: Annotated[str, Path(max_length=64)], body: ProfileBody, context: Context, request: Request
) -> HTMLResponse:
    """Return what the lists of a profile would hold as a part of a page, to whoever fills in its form."""
    effects = profile_effects(name, body, context)
    return render(request, "profile_preview.html", None, lists=effects)
