"""Workspace and report in W&B: found by their name and brought up to date, or made."""

import os
from typing import Any

import wandb
from wandb.sdk.lib.service.service_connection import WandbApiFailedError
from wandb_workspaces._graphql import execute_graphql

from kd_lab.dashboard import definition
from kd_lab.errors import UserError

WORKSPACES, REPORTS = "project-view", "runs"
"""What W&B calls the kinds of views."""
RETRIES = 2
VIEWS = """
    query Views($entity: String!, $project: String!, $type: String!) {
        project(name: $project, entityName: $entity) {
            allViews(viewType: $type) { edges { node { id name displayName } } }
        }
    }
"""


def logged_in() -> bool:
    """Whether there is a key, and W&B is not switched off; nobody is asked and nothing is sent.

    Raises:
        UserError: for a variable that W&B refuses.
    """
    if os.environ.get("WANDB_MODE") in {"offline", "disabled", "dryrun"}:
        return False
    try:
        # Before anything of W&B's speaks, or asks the network again for minutes.
        wandb.setup(wandb.Settings(silent=True, x_graphql_retry_max=RETRIES, x_graphql_retry_wait_max_seconds=2))
        return wandb.login(prompt=False, verify=False)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"a WANDB_ variable or a settings file of W&B's is not right: {reason}") from error


def save(entity: str, project: str) -> dict[str, str]:
    """Bring both to W&B; their addresses by name.

    Args:
        entity: user or team; empty for whoever is logged in.
        project: is made where it is missing.

    Raises:
        UserError: where W&B cannot be reached or refuses.
    """
    try:
        owner = entity or wandb.Api().default_entity
        if not owner:
            raise UserError("W&B does not say whose key this is: name a user or a team, with entity=…")
        return {"report": _report(owner, project), "workspace": _workspace(owner, project)}
    except (wandb.errors.Error, WandbApiFailedError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"W&B did not take the dashboard of {entity or 'your'}/{project}: {reason}") from error


def _report(entity: str, project: str) -> str:
    """First, since saving it makes the project where there is none."""
    made = definition.report(entity, project)
    made.id = _earlier(entity, project, REPORTS).get("id", "")
    made.save()
    return str(made.url)


def _workspace(entity: str, project: str) -> str:
    made = definition.workspace(entity, project)
    if earlier := _earlier(entity, project, WORKSPACES):
        made._internal_id, made._internal_name = earlier["id"], earlier["name"]
    made.save()  # type: ignore[no-untyped-call]
    return str(made.url)


def _earlier(entity: str, project: str, kind: str) -> dict[str, str]:
    """The view of our name, if there is one; the package looks views up by an address only."""
    asked = {"entity": entity, "project": project, "type": kind}
    found: Any = execute_graphql(wandb.Api(), VIEWS, asked).get("project") or {}
    nodes = [edge["node"] for edge in found.get("allViews", {}).get("edges", [])]
    return next((node for node in nodes if node["displayName"] == definition.NAME), {})
