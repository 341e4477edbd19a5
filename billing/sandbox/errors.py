"""What Stripe answers when it refuses, as one exception with one maker for each kind of refusal."""

from typing import Any


class ApiError(Exception):
    """A refusal: HTTP status and the fields of Stripe's error object.

    `keeps_effects` says that what was done before the refusal stays, as with a declined payment of an invoice;
    otherwise the world is put back as it was. `stored` says whether an idempotency key remembers it.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        keeps_effects: bool = False,
        stored: bool = True,
        **fields: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.keeps_effects = keeps_effects
        self.stored = stored
        self.body: dict[str, Any] = {"type": kind, "message": message}
        self.body.update({key: value for key, value in fields.items() if value is not None})
        if code := self.body.get("code"):
            self.body["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"


def invalid(
    message: str, *, param: str | None = None, code: str | None = None, status: int = 400
) -> ApiError:
    """A request that makes no sense, or not now."""
    return ApiError(status, "invalid_request_error", message, code=code, param=param)


def malformed(message: str, *, param: str | None = None, code: str | None = None) -> ApiError:
    """A parameter that fails validation, before anything was done: no idempotency key remembers this one."""
    return ApiError(400, "invalid_request_error", message, code=code, param=param, stored=False)


def missing(noun: str, id: str, *, param: str = "id", in_url: bool = False) -> ApiError:
    """An unknown id: 404 when the URL names it, 400 when a parameter does."""
    return invalid(
        f"No such {noun}: '{id}'", param=param, code="resource_missing", status=404 if in_url else 400
    )


def required(param: str) -> ApiError:
    """A parameter that has to be there and is not."""
    return malformed(f"Missing required param: {param}.", param=param, code="parameter_missing")


def declined(
    message: str,
    *,
    code: str = "card_declined",
    decline_code: str | None = "generic_decline",
    param: str | None = None,
    keeps_effects: bool = False,
    **fields: Any,
) -> ApiError:
    """A card that said no."""
    return ApiError(
        402,
        "card_error",
        message,
        code=code,
        decline_code=decline_code,
        param=param,
        keeps_effects=keeps_effects,
        **fields,
    )


def unauthorized(key: str) -> ApiError:
    """No key, or not a test key."""
    if not key:
        return ApiError(
            401,
            "invalid_request_error",
            "You did not provide an API key. You need to provide your API key in the Authorization header, using "
            "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
            stored=False,
        )
    shown = key if len(key) < 12 else f"{key[:8]}{'*' * (len(key) - 12)}{key[-4:]}"
    return ApiError(401, "invalid_request_error", f"Invalid API Key provided: {shown}", stored=False)
