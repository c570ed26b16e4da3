"""An export on its way to the model hub: what would be sent is shown first."""

import sys
from pathlib import Path

from kd_lab import downloads, hub, quiet, terminal
from kd_lab.errors import UserError
from kd_lab.export import record


def send(folder: Path, repository: str, *, settled: bool, private: bool) -> None:
    """Show the files of an export and its card, and send them where a person agrees.

    Args:
        folder: of the export.
        repository: its name on the hub; made, if there is none.
        settled: nobody is asked.
        private: as which a new repository is made.

    Raises:
        UserError: if the hub cannot be reached, or refuses.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    terminal.say((folder / record.CARD).read_text(encoding="utf-8"))
    terminal.say(f"to {repository} on the model hub ({'private' if private else 'public'}, if it is new):")
    for path in files:
        terminal.say(f"  {path.stat().st_size / 1e6:>9,.2f} MB  {path.relative_to(folder).as_posix()}")
    if not settled and not _agreed():
        terminal.say("nothing was sent; to send it: yes=true")
        return
    if not downloads.hub_answers():
        raise UserError(f"the model hub cannot be reached: nothing was sent; the export stays in {folder}")
    from huggingface_hub import HfApi

    quiet.hub()
    try:
        with hub.patience():
            api = HfApi()
            api.create_repo(repository, private=private, exist_ok=True)
            sent = api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Exported by kd_lab")
    except Exception as error:
        # The client hands on whatever its HTTP library raises.
        raise UserError(hub.in_words(error, "model", repository, "did not reach")) from error
    terminal.say(f"sent: {sent.commit_url}")


def _agreed() -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    return input("send it? [y/N] ").strip().lower() in {"y", "yes"}
