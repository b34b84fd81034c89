"""Forms that a browser or a provider sends: `application/x-www-form-urlencoded`, few fields."""

from urllib.parse import parse_qs

from starlette.requests import Request

from api.problems import Kind, Problem

MAX_FIELDS = 20


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form, of those that are given twice the first.

    Raises:
        Problem: there are more than `MAX_FIELDS`.
    """
    text = (await request.body()).decode("utf-8", "replace")
    try:
        fields = parse_qs(text, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Problem(Kind.BAD_REQUEST, f"Send {MAX_FIELDS} fields at most.") from None
    return {name: values[0] for name, values in fields.items()}
