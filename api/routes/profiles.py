"""Profiles: what the lists hold for firewalls that take something else than the others."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path
from starlette.responses import Response

from api.caller import Who
from api.dependencies import Context
from api.documents import json_response
from api.openapi import problems
from api.policy.checks import PROFILES_FULL, require_profile
from api.policy.profiles import known_profile_document, profile_documents, profile_effects
from api.problems import Kind, Problem
from api.requests.bodies import ProfileBody
from api.schemas.lists import KnownProfileDocument, ProfileList
from api.schemas.workflow import ProfilePreviewDocument
from db.workflow.values import StoredProfile

router = APIRouter(tags=["lists"])
ProfileName = Annotated[str, Path(max_length=64)]
NO_PROFILE = "No profile that was made over the API has this name; /v1/profiles lists them."


@router.get("/v1/profiles", response_model=ProfileList, responses=problems(503))
def list_profiles(context: Context) -> Response:
    """Every profile: those built in, the policy file's, those made over the API; of one name the file's."""
    return json_response({"items": profile_documents(context)})


@router.put("/v1/profiles/{name}", response_model=KnownProfileDocument, responses=problems(409, 422, 503))
def set_profile(name: ProfileName, body: ProfileBody, context: Context, who: Who) -> Response:
    """Make a profile or change one that was made over the API; its lists follow within seconds where they are pulled.

    The guards hold back what shrinks or grows too much at once, as for every change.
    """
    wanted = require_profile(name, body, context.ruleset(), context.now_ns())
    made = StoredProfile(
        chosen=body.to_table(name),
        owner=body.owner,
        reason=body.reason,
        changed_by=who.name,
        changed_at_ns=context.now_ns(),
    )
    if not context.store.policy.set_profile(made):
        raise Problem(Kind.CONFLICT, PROFILES_FULL)
    context.policy_changed()
    in_use = {profile.name for profile, is_in_use in context.profiles() if is_in_use}
    return json_response(known_profile_document(wanted, name in in_use, "database", made))


@router.post("/v1/profiles/{name}/preview", response_model=ProfilePreviewDocument, responses=problems(409, 422, 503))
def preview_profile(name: ProfileName, body: ProfileBody, context: Context) -> Response:
    """How many entries each list of a profile would have, beside what it, or else the default one, holds now."""
    found = msgspec.to_builtins(profile_effects(name, body, context))
    for row in found:
        row["list"] = row.pop("list_name")
    return json_response({"lists": found})


@router.delete("/v1/profiles/{name}", status_code=204, responses=problems(404, 409, 422, 503))
def remove_profile(name: ProfileName, context: Context) -> Response:
    """Remove a profile that was made over the API; refused while a token is bound to it."""
    bound = next((row for row in context.store.tokens() if row.profile == name and row.revoked_at_ns is None), None)
    if bound is not None:
        raise Problem(Kind.CONFLICT, f"The token {bound.name} is bound to this profile: revoke it first.")
    if not context.store.policy.remove_profile(name):
        raise Problem(Kind.NOT_FOUND, NO_PROFILE)
    context.policy_changed()
    return Response(status_code=204)
