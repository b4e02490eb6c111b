"""``tenfold VERB TARGET [options]``: finds the verb, imports its module, and turns errors into one line.

House verbs are modules of this package with ``main(arguments) -> int``. A paper's own verbs are named in its
``paper.toml`` and are functions of its ``commands.py``, read by tyro; their target is the paper's name, or a folder in
it (``paper/part``), or a run of that paper, and may be anything when one paper alone owns the verb. Only the verb that
was typed is imported, so that ``tenfold --help`` and ``tenfold list`` answer without torch.

Exit status: 0 done, 2 bad input, 130 stopped on request.
"""

import difflib
import errno
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import tenfold
from tenfold.core.config import nearest
from tenfold.core.discovery import Paper, commands_module, find, papers
from tenfold.core.errors import Interrupted, UserError

VERBS = {
    "list": ("", "the papers, what each claims, and what is available"),
    "show": ("PAPER", "claims, arms, presets and resolved configuration of a paper"),
    "run": ("PAPER[/STUDY]", "train a paper's arms over several seeds, and write a report with verdicts"),
    "tune": ("PAPER", "try a grid of learning rates on every arm of a paper"),
    "train": ("PAPER", "train a paper's method on data of your own"),
    "compare": ("RUN RUN …", "metrics of runs side by side, with paired differences"),
    "report": ("[RUN …]", "write the report of runs again; --publish puts them into results/"),
    "digest": ("", "one page of all papers, with verdicts and pictures, in English and Korean"),
    "studio": ("", "a page of this machine on which papers can be tried, on models that runs have trained"),
    "doctor": ("", "what the code sandbox really stops on this machine, and which optional parts are installed"),
    "env": ("", "versions and hardware, for bug reports"),
    "index": ("build|search …", "index a corpus of passages, and search the index"),
    "render": ("FILE", "draw a Matplotlib program, a page or an SVG as a policy's would be drawn"),
    "score": ("chart|image …", "how alike two chart programs, or two images, are"),
    "new": ("NAME", "start a paper folder that runs and passes the conformance tests"),
}

NOT_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""What storage does to any verb that writes: it is full, or may not be written to."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: the words after ``tenfold``; by default those of this process.

    Example:
        >>> main(["--version"])  # doctest: +ELLIPSIS
        tenfold ...
        0
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    python_form, warnings.formatwarning = warnings.formatwarning, _as_sentence
    try:
        return _dispatch(words)
    except UserError as error:
        print(f"tenfold: {error}", file=sys.stderr)
        return 2
    except (Interrupted, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `tenfold list | head -1`
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.errno not in NOT_WRITTEN and not _was_named(error, words):
            raise
        print(f"tenfold: {': '.join(filter(None, [_path_of(error), error.strerror]))}", file=sys.stderr)
        return 2
    finally:
        warnings.formatwarning = python_form


_PACKAGE = str(Path(tenfold.__file__).parent)
_python_form = warnings.formatwarning


def _as_sentence(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Our own warnings without the line of source that Python shows; those of other packages as Python shows them."""
    if filename.startswith(_PACKAGE + os.sep):
        return f"tenfold: warning: {message}\n"
    return _python_form(message, category, filename, lineno, line)


def _path_of(error: OSError) -> str:
    """The path that an error is about; empty where it names none."""
    return os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else ""


def _was_named(error: OSError, words: Sequence[str]) -> bool:
    """Whether an error is about a path that the user typed, or one made from it, and so is no defect."""
    name = _path_of(error)
    paths = [word for word in words if len(word) > 1 and not word.startswith("-")]
    return len(name) > 1 and any(name.startswith(path) or path.startswith(name) for path in paths)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] == "--version":
        print(f"tenfold {tenfold.__version__}")
        return 0
    verb, rest = words[0], words[1:]
    if verb in VERBS:
        return int(importlib.import_module(f"tenfold.cli.{verb}").main(rest))
    owners = [paper for paper in papers() if verb in paper.verbs]
    if not owners:
        known = list(dict.fromkeys([*VERBS, *(name for paper in papers() for name in paper.verbs)]))
        raise UserError(f"unknown verb {verb!r}; {nearest(verb, known)}")
    return _paper_verb(verb, owners, rest)


def _paper_verb(verb: str, owners: Sequence[Paper], words: list[str]) -> int:
    """Call a paper's own verb; see the module's docstring for how its paper is found."""
    import tyro

    paper, rest = _owner(verb, owners, words)
    command = getattr(commands_module(paper.name), verb)
    status = tyro.cli(command, args=rest, prog=f"tenfold {verb} {paper.name}")
    return int(status or 0)


def _owner(verb: str, owners: Sequence[Paper], words: list[str]) -> tuple[Paper, list[str]]:
    names = [paper.name for paper in owners]
    target = words[0] if words else ""
    name, _, part = target.partition("/")
    if name in names and (find(name).directory / part).is_dir():  # of a paper, or of one part of it
        return find(name), words[1:]
    if target and (Path(target) / "run.json").is_file():
        from tenfold.core.directory import RunDirectory

        name = str(RunDirectory(Path(target)).facts()["paper"]).partition("/")[0]
        if name not in names:
            raise UserError(
                f"{target} is a run of {name}, which has no verb {verb!r}; papers with it: {', '.join(names)}"
            )
        return find(name), words
    is_mistyped = not Path(target).exists() and difflib.get_close_matches(target, names, cutoff=0.6)
    if len(owners) > 1 or is_mistyped:
        raise UserError(f"unknown target {target!r}: {verb!r} takes a paper or a run; {nearest(target, names)}")
    return owners[0], words


def _help() -> str:
    own = [(f"{verb} {paper.name}", text) for paper in papers() for verb, text in paper.verbs.items()]
    house = [(f"{verb} {target}".strip(), text) for verb, (target, text) in VERBS.items()]
    width = max(len(usage) for usage, _ in house + own)
    lines = ["usage: tenfold VERB TARGET [options]     (tenfold VERB --help tells the options)", ""]
    lines += [f"  {usage:<{width}}  {text}" for usage, text in house]
    if own:
        lines += ["", "verbs of single papers:", ""]
        lines += [f"  {usage:<{width}}  {text}" for usage, text in own]
    lines += ["", "Start with `tenfold list`, then `tenfold run hrm --preset smoke`."]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
