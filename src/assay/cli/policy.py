"""`assay policy check|test|explain|init|generate`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from assay.cli import flags, printing
from assay.cli.main import printable
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.policy.authoring.explaining import Explanation
    from assay.policy.authoring.running import Result


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    look = actions.add_parser("check", help="everything that is wrong with policies, with file, line and a suggestion")
    look.add_argument("policies", nargs="+", metavar="POLICY", help="a file, a folder, builtin:NAME or a bundle")
    look.add_argument("--set", dest="inputs", action="append", default=[], metavar="NAME=VALUE", help="an input")
    look.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    look.add_argument("-q", "--quiet", action="store_true", help="print problems only")
    look.set_defaults(run=check)
    try_out = actions.add_parser("test", help="run the tests that lie beside a policy (POLICY.test.yaml)")
    try_out.add_argument("tests", nargs="?", default=".", metavar="FILE", help="tests, a policy, or a folder of them")
    try_out.add_argument("--engine", choices=("auto", "regorus", "opa"), default="auto", help="for rules in Rego")
    try_out.add_argument("--junit", metavar="FILE", help="write the results as JUnit XML")
    try_out.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    try_out.add_argument("-q", "--quiet", action="store_true", help="print failures only")
    try_out.set_defaults(run=test)
    why = actions.add_parser("explain", help="the smallest set of changes that would make a target pass")
    flags.target(why)
    why.add_argument("-p", "--policy", metavar="POLICY", help="a file, builtin:NAME, or a bundle")
    why.add_argument("--signature", metavar="FILE", help="a signature or attestation file, instead of the store")
    flags.trusting(why)
    flags.reading(why)
    flags.deciding(why)
    flags.evidence(why)
    flags.output(why, file=False)
    why.set_defaults(run=explain)
    _configure_writers(actions)


def _configure_writers(actions: Any) -> None:
    start = actions.add_parser("init", help="ask three questions and write a starting policy with its tests")
    start.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="where to write (default: here)")
    start.add_argument(
        "--answers",
        metavar="PROTECT,SIGNER,STRICT",
        help="model|dataset|both,key|github|gitlab|several,warn|basics|all",
    )
    start.add_argument(
        "--key", action="append", default=[], metavar="FILE", help="public key of who signs (repeatable)"
    )
    start.add_argument("--identity", metavar="URI", help="the workflow that signs, with github and gitlab")
    start.add_argument("--issuer", metavar="URL", help="who vouches for it (default: that service's own)")
    start.add_argument("--force", action="store_true", help="replace files that are there")
    start.add_argument("-q", "--quiet", action="store_true")
    start.set_defaults(run=init)
    write = actions.add_parser("generate", help="write the policy that a known-good target satisfies")
    flags.target(write)
    write.add_argument("-O", "--output-file", default="policy.yml", metavar="FILE", help="default: policy.yml")
    write.add_argument("--force", action="store_true", help="replace files that are there")
    write.add_argument("--signature", metavar="FILE", help="a signature or attestation file, instead of the store")
    flags.trusting(write)
    flags.reading(write)
    flags.evidence(write)
    flags.output(write, file=False)
    write.set_defaults(run=generate)


def check(parsed: argparse.Namespace) -> int:
    """Check: 0 fine, 1 problems, 2 unreadable."""
    from assay.api.authoring import check as examine

    reports = examine(parsed.policies, flags.inputs(parsed))
    code = max((report.exit_code for report in reports), default=0)
    problems = [(report, problem) for report in reports for problem in report.problems]
    if parsed.json:
        printing.as_json(
            {
                "files": [
                    {"name": item.name, "what": item.what, "rules": item.rules, "unreadable": item.unreadable}
                    for item in reports
                ],
                "problems": [
                    {
                        "file": problem.file,
                        "line": problem.line,
                        "level": "error" if problem.fatal else "warning",
                        "message": problem.message,
                        "suggestion": problem.suggestion,
                    }
                    for _, problem in problems
                ],
            }
        )
        return code
    for _, problem in problems:
        word = "" if problem.fatal else "warning: "
        place = f"{problem.file}:{problem.line}" if problem.line else problem.file
        printing.line(f"{place}: {word}{problem.message}")
        if problem.suggestion:
            printing.line(f"  {problem.suggestion}")
    if not parsed.quiet:
        wrong = sum(problem.fatal for _, problem in problems)
        rules = sum(report.rules for report in reports if report.what != "test")
        warnings = len(problems) - wrong
        printing.line(f"{len(reports)} file(s), {rules} rule(s): {wrong} problem(s), {warnings} warning(s)")
    return code


def test(parsed: argparse.Namespace) -> int:
    """Test: 0 when all came as expected, else 1."""
    from assay.api.authoring import test as run_all
    from assay.policy.authoring import running

    results = run_all(parsed.tests, engine=parsed.engine)
    if parsed.junit:
        printing.document(running.as_junit(results), parsed.junit)
    if parsed.json:
        printing.as_json(running.as_document(results))
    else:
        _show_tests(results, quiet=parsed.quiet)
    return 0 if all(result.passed for result in results) else 1


def _show_tests(results: list[Result], *, quiet: bool) -> None:
    from assay.policy.authoring import running

    for result in results:
        if result.passed:
            if not quiet:
                printing.line(f"ok    {result.name}")
            continue
        printing.line(f"FAIL  {result.file}:{result.line} {result.name}")
        for text in (*result.differences, *([result.error] if result.error else ())):
            for line in text.splitlines():
                printing.line(f"      {line}")
    passed = sum(result.passed for result in results)
    if not quiet:
        if never := running.never_failed(results):
            shown = ", ".join(never[:10]) + (f" and {len(never) - 10} more" if len(never) > 10 else "")
            printing.line(f"no case makes these rules fail: {shown}")
        printing.line(f"{passed} passed, {len(results) - passed} failed")


def explain(parsed: argparse.Namespace) -> int:
    """Explain: the exit code is that of the verdict."""
    from assay.api.authoring import explain as find
    from assay.config import load
    from assay.policy.authoring import telling

    found: Explanation = find(
        parsed.target, parsed.policy, flags.how_to_decide(parsed, "reading"), config=load(parsed.config)
    )
    if parsed.json:
        printing.as_json(telling.as_document(found))
    elif not (parsed.quiet and found.decision.accepted):
        for line in telling.as_text(found, parsed.target, _given(parsed)):
            printing.line(line)
    return found.decision.exit_code


def _given(parsed: argparse.Namespace) -> str:
    """The flags that every command of an explanation needs too."""
    import shlex

    given = [("-d", parsed.directory), ("-c", parsed.config)]
    return "".join(f" {name} {shlex.quote(value)}" for name, value in given if value)


def init(parsed: argparse.Namespace) -> int:
    """Init."""
    from assay.api.authoring import write
    from assay.files import read_file
    from assay.policy.authoring import starting

    answers = starting.parse(parsed.answers) if parsed.answers else _ask(starting.QUESTIONS)
    keys = parsed.key
    if not keys and answers.signer in ("key", "several"):
        keys = _own_key(answers.signer)
    identity = parsed.identity
    if identity is None and answers.signer in ("github", "gitlab"):
        identity = _line(starting.IDENTITY[answers.signer], "--identity")
    people = starting.Signers([(path, read_file(path, 1 << 20)) for path in keys], identity, parsed.issuer)
    files = starting.files(answers, people)
    written = write(parsed.folder, files, force=parsed.force)
    for path in written:
        printing.note(f"wrote {printing.place(path)}", quiet=parsed.quiet)
    place = printing.place(os.path.join(parsed.folder, "policy.yml"))
    printing.note(f"try it: assay policy test {place}; assay verify TARGET -p {place}", quiet=parsed.quiet)
    return 0


def _ask(questions: Any) -> Any:
    from assay.policy.authoring import starting

    given = []
    for question in questions:
        printing.note(question.text)
        for number, (word, meaning) in enumerate(question.choices.items(), 1):
            printing.note(f"  {number}  {word}: {meaning}")
        answer = _line("Number or word", "--answers")
        words = list(question.choices)
        given.append(words[int(answer) - 1] if answer.isdecimal() and 1 <= int(answer) <= len(words) else answer)
    return starting.parse(",".join(given))


def _line(text: str, flag: str) -> str:
    """One line from whoever sits there."""
    if not sys.stdin.isatty():
        raise UsageError("there is nobody to ask: standard input is not a terminal", hint=f"answer with {flag}")
    print(f"{printable(text)}: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _own_key(signer: str) -> list[str]:
    from assay.api.anchors import public_path
    from assay.config import default_key

    own = public_path(default_key())
    if signer == "key" and os.path.isfile(own):
        return [own]
    count = "the public key of each, at least two" if signer == "several" else "its public key"
    raise UsageError(f"nobody is named who signs: {count} is needed", hint="add --key FILE.pub (assay keys generate)")


def generate(parsed: argparse.Namespace) -> int:
    """Generate."""
    from assay.api.authoring import generate as make
    from assay.api.authoring import write
    from assay.api.deciding import Deciding
    from assay.config import load

    how = Deciding(flags.trust_in(parsed), parsed.signature, parsed.directory, flags.options(parsed, "reading"))
    folder, name = os.path.split(parsed.output_file)
    made = make(parsed.target, how, name=os.path.splitext(name)[0] or "policy", config=load(parsed.config))
    written = write(folder or ".", made.files(name), force=parsed.force)
    if parsed.json:
        printing.as_json({"files": sorted(made.files(name)), "rules": list(made.rules), "loose": list(made.loose)})
        return 0
    for path in written:
        printing.note(f"wrote {printing.place(os.path.abspath(path))}", quiet=parsed.quiet)
    for text in made.loose:
        printing.note(f"loose: {text}", quiet=parsed.quiet)
    return 0
