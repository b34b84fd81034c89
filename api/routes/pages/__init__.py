"""The pages that people read: one module a section, all server-rendered from the same store as the API."""

from fastapi import APIRouter

from api.routes.pages import access, events, findings, lists, outputs, overview, policy, profiles, sensors, services

router = APIRouter(include_in_schema=False)
for section in (overview, findings, events, services, lists, profiles, sensors, policy, outputs, access):
    router.include_router(section.router)
