"""Take what proves who asks from the environment, and hand it to `requests`.

Rules:
- VERIMASK_PACS_TOKEN is a bearer token; VERIMASK_PACS_USER and VERIMASK_PACS_PASSWORD are a user. Without both, `requests`
  itself looks into ~/.netrc. Nothing is an option of a command, and nothing goes into a record, a log or a message.
- They are given to the archive's own host alone: `requests` takes them off where a redirect leads elsewhere.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..core.findings import Code, refuse

if TYPE_CHECKING:
    from requests.auth import AuthBase

TOKEN, USER, PASSWORD = "VERIMASK_PACS_TOKEN", "VERIMASK_PACS_USER", "VERIMASK_PACS_PASSWORD"
_HINT = "Set one of the two: the token, or the user with the password. Without any, ~/.netrc is asked."


def read_credentials() -> AuthBase | None:
    """What the environment gives; None where that is nothing. Raises BAD_OPTION where it contradicts itself."""
    from requests.auth import HTTPBasicAuth

    token, user, password = (os.environ.get(name, "") for name in (TOKEN, USER, PASSWORD))
    if token and (user or password):
        raise refuse(Code.BAD_OPTION, f"{TOKEN} and {USER} are both set", _HINT, where=(TOKEN,))
    if bool(user) != bool(password):
        raise refuse(Code.BAD_OPTION, f"of {USER} and {PASSWORD} only one is set", _HINT, where=(USER,))
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise refuse(Code.BAD_OPTION, f"{TOKEN} has characters that no token has", _HINT, where=(TOKEN,))
    if token:
        return _bearer(token)
    # As UTF-8: requests itself would write Latin-1, and fail at the first other sign.
    return HTTPBasicAuth(user.encode("utf-8"), password.encode("utf-8")) if user else None


def _bearer(token: str) -> AuthBase:
    from requests.auth import AuthBase

    class BearerToken(AuthBase):
        """As an object of `requests`, which keeps ~/.netrc from overruling it and goes no further than its host."""

        def __call__(self, request: Any) -> Any:
            request.headers["Authorization"] = f"Bearer {token}"
            return request

    return BearerToken()
