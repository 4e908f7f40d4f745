"""Pushes an exported version to the Hugging Face Hub, with a model card as its README.md.

  python -m export.push --model_dir=exported --repo=USER/NAME --private

The version is checked first, as `export.verify` does. Its files replace those of the repository, which is made where
there is none. A token is taken from HF_TOKEN, or from `hf auth login`. A README.md of your own in the version's folder
is taken as it is.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile

from absl import flags

from cgc_tf.common import program
from cgc_tf.common.errors import UserError, first_line
from cgc_tf.report import model_card
from cgc_tf.report.readme import readme

README = "README.md"


def push(version: pathlib.Path, repo: str, private: bool = False, license: str = "unknown") -> str:
    """Puts one version's files, and a README.md, into a model repository of the Hub; returns its address.

    Args:
        version: the version's folder, .../NUMBER, which is not changed.
        repo: USER/NAME.
        private: whether the repository is for its owners alone; if not, it is as the account has it.
        license: what README.md says of it, an identifier of the Hub's.

    Raises:
        UserError: the version is not as it was written, there is no token, the Hub refuses something or is out of
            reach, or the repository is there and public although it should be private.
    """
    from huggingface_hub import HfApi, get_token, utils

    from . import verify

    card = model_card.read(version)
    if card is None:
        raise UserError(f"{version} has no model card: was it written by export.saved_model?")
    with _told_in_a_line(repo):
        utils.validate_repo_id(repo)
        if "/" not in repo:
            raise UserError(f"--repo={repo} should be USER/NAME")
        if not get_token():
            raise UserError("no token of the Hugging Face Hub: run `hf auth login`, or put one into HF_TOKEN")
        hub = HfApi()
        hub.whoami()  # before anything that takes long
    import cgc_tf.common.quiet_tensorflow  # noqa: F401  # after what needs no TensorFlow is refused

    verify.verify(version)
    text = readme(card, model_card.read_labels(version / model_card.LABELS) or (), repo, license)
    with _told_in_a_line(repo), tempfile.TemporaryDirectory() as temporary:
        whole = shutil.copytree(version.absolute(), pathlib.Path(temporary, "version"), copy_function=os.symlink)
        if not (whole / README).exists():
            (whole / README).write_text(text, encoding="utf-8")
        hub.create_repo(repo, private=private or None, exist_ok=True)
        if private and not hub.model_info(repo).private:
            raise UserError(f"--private: {repo} is there already, and public; nothing was pushed")
        hub.upload_folder(repo_id=repo, folder_path=whole, delete_patterns="*", commit_message=card["name"])
    return f"{hub.endpoint}/{repo}"


@contextlib.contextmanager
def _told_in_a_line(repo):
    """What goes wrong between here and the Hub, as a `UserError`."""
    from huggingface_hub import errors

    try:
        yield
    except UserError:
        raise
    except errors.HFValidationError as error:
        raise UserError(f"--repo={repo} should be USER/NAME: {first_line(error)}") from error
    except (errors.HTTPError, OSError, ValueError, RuntimeError) as error:  # pyright: ignore[reportPrivateImportUsage]
        reason = getattr(error, "server_message", None) or " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"--repo={repo} cannot be pushed to the Hugging Face Hub: {reason}") from error


def main(_):
    args = flags.FLAGS
    if args.repo is None:
        raise UserError("--repo is missing: USER/NAME on the Hugging Face Hub")
    from . import verify

    version = verify.chosen(args.model_dir, args.version)
    names = ", and splits.csv, with the names of the pictures" if (version / model_card.RECORD).exists() else ""
    print(f"note: with it go model_card.json, which names folders of this machine{names}")
    print(f"pushed: {version} to {push(version, args.repo, args.private, args.license)}")


def define_flags():
    """Defines the flags: which version, and where it goes."""
    flags.DEFINE_string("model_dir", None, "Folder of the versions.")
    flags.DEFINE_integer("version", None, "The version to push (default: the highest).")
    flags.DEFINE_string("repo", None, "USER/NAME of the model's repository on the Hugging Face Hub.")
    flags.DEFINE_bool("private", False, "A repository that only its owners see; if it is there, it has to be one.")
    flags.DEFINE_string("license", "unknown", "The model's license, by the Hub's names, as in apache-2.0 or cc-by-4.0.")


if __name__ == "__main__":
    program.run(main)
