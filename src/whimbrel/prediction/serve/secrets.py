"""What ``[serve]`` says of who may do what: the secrets, read where they are."""

from __future__ import annotations

import os
from pathlib import Path

from whimbrel.errors import UserError
from whimbrel.prediction.serve.access import AccessRules
from whimbrel.prediction.serve.deploy import Keys
from whimbrel.private import openness
from whimbrel.project import Project


def access_of(project: Project) -> AccessRules:
    """Raises UserError for a secret that is not there, or that others can read."""
    serve = project.predict.serve
    return AccessRules(
        control_token=_secret(project, "token", serve.token_env, serve.token_file),
        predict_token=_secret(project, "predict_token", serve.predict_token_env, serve.predict_token_file),
        key_id=serve.access_key,
        hosts=serve.allowed_hosts,
    )


def control_keys(project: Project) -> Keys:
    """What a client of the project's own server signs control calls with. Raises UserError."""
    access = access_of(project)
    return Keys(access.key_id, access.control_token) if access.control_token else Keys()


def predict_keys(project: Project) -> Keys:
    """As ``control_keys``, for predictions."""
    access = access_of(project)
    return Keys(access.key_id, access.predict_token) if access.predict_token else Keys()


def _secret(project: Project, name: str, variable: str, file: str) -> str:
    if variable:
        found = os.environ.get(variable, "").strip()
        if not found:
            hint = f"Set {variable}, for example to what `openssl rand -hex 32` prints."
            raise UserError(f"the environment variable {variable} is not set", place=f"[serve] {name}_env", hint=hint)
        return found
    if not file:
        return ""
    path = project.path.parent / Path(file).expanduser()
    try:
        if wrong := openness(path):
            hint = f"chmod 600 {path}, and make a new token if somebody may have read it."
            raise UserError(f"{path} {wrong}", place=f"[serve] {name}_file", hint=hint)
        found = path.read_text(encoding="ascii").strip()
    except OSError as error:
        hint = f"openssl rand -hex 32 > {path}; chmod 600 {path}"
        raise UserError(f"{path} cannot be read: {error.strerror}", place=f"[serve] {name}_file", hint=hint) from None
    except UnicodeDecodeError:
        found = ""
    if not found or len(found.split()) > 1:
        raise UserError(f"{path} has no token in it", place=f"[serve] {name}_file", hint="Its one line is the token.")
    return found
