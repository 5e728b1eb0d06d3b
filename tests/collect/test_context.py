"""The context of a statement: real repositories, and the variables that the services document."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.provenance.ci import PROVIDERS
from assay.collect.provenance.context import MAX_LENGTH, context
from assay.collect.provenance.git_folder import checkout

COMMIT = "1f0c9b7e5d3a4c2b8e6f7a9d0b1c2d3e4f5a6b7c"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=300
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main", ".")
    (folder / "sub").mkdir()
    (folder / "sub" / "weights.bin").write_bytes(b"w")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    return folder


def facts(folder: Path) -> dict[str, str]:
    return {name: value for name, value in context(str(folder), {}).document().items() if name != "context_type"}


# Repositories -------------------------------------------------------------------------------------------------


def test_a_branch_its_commit_and_the_origin_without_credentials(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://alice:secret@git.example.org/team/model.git")
    head = git(repository, "rev-parse", "HEAD")
    expected = {"git_url": "https://git.example.org/team/model.git", "git_commit": head, "git_branch": "main"}
    assert facts(repository) == expected
    assert facts(repository / "sub") == expected
    assert facts(repository / "sub" / "weights.bin") == expected


def test_references_that_git_packed(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "pack-refs", "--all")
    assert not (repository / ".git" / "refs" / "heads" / "main").exists()
    assert facts(repository) == {"git_commit": head, "git_branch": "main"}


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    assert facts(repository) == {"git_commit": git(repository, "rev-parse", "HEAD")}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("arguments", [["v1"], ["-a", "-m", "a tag object", "release/v1"]])
def test_tags(repository: Path, arguments: list[str], packed: bool) -> None:
    git(repository, "tag", *arguments)
    git(repository, "commit", "-q", "--allow-empty", "-m", "two")
    git(repository, "tag", "later")
    git(repository, "checkout", "-q", "HEAD~1")
    if packed:
        git(repository, "pack-refs", "--all")
    assert facts(repository)["git_tag"] == arguments[-1]


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", ".")
    assert facts(tmp_path) == {}


def test_a_sha256_repository(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256", "-b", "main", ".")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert len(head) == 64
    assert facts(tmp_path) == {"git_commit": head, "git_branch": "main"}


def test_a_linked_worktree(repository: Path, tmp_path: Path) -> None:
    git(repository, "remote", "add", "origin", "https://git.example.org/m.git")
    git(repository, "worktree", "add", "-q", "-b", "feature", str(tmp_path / "tree"))
    git(tmp_path / "tree", "commit", "-q", "--allow-empty", "-m", "there")
    head = git(tmp_path / "tree", "rev-parse", "HEAD")
    assert head != git(repository, "rev-parse", "HEAD")
    assert facts(tmp_path / "tree") == {
        "git_url": "https://git.example.org/m.git",
        "git_commit": head,
        "git_branch": "feature",
    }


def test_a_submodule(repository: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q", ".")
    git(outer, "submodule", "--quiet", "add", str(repository), "inner")
    git(outer / "inner", "remote", "set-url", "origin", "git@git.example.org:m.git")
    assert (outer / "inner" / ".git").is_file()
    assert facts(outer / "inner") == {
        "git_url": "git@git.example.org:m.git",
        "git_commit": git(repository, "rev-parse", "HEAD"),
        "git_branch": "main",
    }


def test_a_folder_outside_of_every_repository(tmp_path: Path) -> None:
    assert facts(tmp_path) == {}
    assert facts(tmp_path / "missing") == {}
    assert context(None, {}).document() == {"context_type": "local"}


@pytest.mark.parametrize(
    "text",
    [
        '[remote "origin"]\n\turl = "https://h.example/a;b.git" ; why\n',
        '[core]\n[remote "origin"] url = https://h.example/a\\\n/b.git\n',
        '[remote "origin"]\nurl = https://h.example/a\\\n;b.git\n',
        '[REMOTE "origin"]\nfetch = x\nURL=https://h.example/"a;b".git # c\nurl = https://other.example/x\n',
        '[remote "origin"]\nurl = "https://h.example/\\"a\\\\b" \n[remote "upstream"]\nurl = https://other.example/y\n',
        '[remote "or\\"igin"]\n  url = "https://h.example/only.git"\n[branch "main"]\n',
    ],
)
def test_a_configuration_is_read_as_git_reads_it(repository: Path, text: str) -> None:
    (repository / ".git" / "config").write_text(text)
    told = git(repository, "config", "--get-regexp", r"^remote\..*\.url$").split("\n")[0].partition(" ")[2]
    found = checkout(str(repository))
    assert found is not None
    assert found.url == told


@pytest.mark.parametrize("url", ["../elsewhere", "file:///home/alice/secret-project", "https://h.example/x?token=abc"])
def test_a_remote_that_is_a_path_or_holds_a_token_is_left_out(repository: Path, url: str) -> None:
    git(repository, "remote", "add", "origin", url)
    assert "git_url" not in facts(repository)


# Attacks: a downloaded folder that has a .git of its own making ---------------------------------------------------


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A repository of the user's that no downloaded folder may speak of."""
    folder = tmp_path / "private"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "hidden", ".")
    git(folder, "remote", "add", "origin", "https://git.example.org/secret.git")
    git(folder, "commit", "-q", "--allow-empty", "-m", "one")
    return folder


def test_a_git_file_cannot_name_a_strangers_repository(private: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / ".git").write_text(f"gitdir: {private / '.git'}\n")
    assert facts(model) == {}


def test_a_common_folder_cannot_name_a_strangers_repository(private: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / ".git").mkdir(parents=True)
    (model / ".git" / "HEAD").write_text("ref: refs/heads/hidden\n")
    (model / ".git" / "commondir").write_text(f"{private / '.git'}\n")
    assert facts(model) == {}


def test_links_in_a_git_folder_lead_nowhere(private: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / ".git").mkdir(parents=True)
    for name in ("HEAD", "config"):
        (model / ".git" / name).symlink_to(private / ".git" / name)
    assert facts(model) == {}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".git").symlink_to(private / ".git")
    assert facts(tmp_path / "other") == {}


@pytest.mark.parametrize(
    "head",
    [b"", b"ref: ", b"ref: refs/heads/../../../../../etc/hostname", b"ref: refs/heads/a\0b", b"\xff\xfe", b"ref: /etc"],
)
def test_a_head_that_is_none(repository: Path, head: bytes) -> None:
    (repository / ".git" / "HEAD").write_bytes(head)
    assert "git_commit" not in facts(repository)


def test_a_pipe_in_a_git_folder_does_not_hang(repository: Path) -> None:
    (repository / ".git" / "config").unlink()
    os.mkfifo(repository / ".git" / "config")
    assert "git_url" not in facts(repository)


def test_references_in_a_circle_end(repository: Path) -> None:
    (repository / ".git" / "refs" / "heads" / "main").write_text("ref: refs/heads/main\n")
    assert "git_commit" not in facts(repository)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=300), st.binary(max_size=200))
def test_no_bytes_in_a_git_folder_raise(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, config: bytes, packed: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed" / ".git"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "HEAD").write_bytes(head)
    (folder / "config").write_bytes(b'[remote "origin"]\nurl = ' + config)
    (folder / "packed-refs").write_bytes(packed)
    for value in facts(folder.parent).values():
        assert value.isprintable()


# Continuous integration ---------------------------------------------------------------------------------------

RUNS: list[tuple[str, dict[str, str], dict[str, str]]] = [
    (
        "github",
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "octo-org/octo-model",
            "GITHUB_SHA": COMMIT,
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_HEAD_REF": "",
            "GITHUB_WORKFLOW": "Train",
            "GITHUB_JOB": "build",
            "GITHUB_RUN_ID": "1658821493",
            "GITHUB_RUN_NUMBER": "3",
            "GITHUB_ACTOR": "octocat",
            "GITHUB_EVENT_NAME": "push",
        },
        {
            "git_url": "https://github.com/octo-org/octo-model",
            "git_commit": COMMIT,
            "git_ref": "refs/heads/main",
            "git_branch": "main",
            "workflow": "Train",
            "job_name": "build",
            "run_id": "1658821493",
            "build_num": "3",
            "actor": "octocat",
            "event_name": "push",
        },
    ),
    (
        "github",
        {"GITHUB_ACTIONS": "true", "GITHUB_REF": "refs/pull/7/merge", "GITHUB_HEAD_REF": "feature"},
        {"git_ref": "refs/pull/7/merge", "git_branch": "feature"},
    ),
    (
        "github",
        {"GITHUB_ACTIONS": "true", "GITHUB_REF": "refs/tags/v1.2"},
        {"git_ref": "refs/tags/v1.2", "git_tag": "v1.2"},
    ),
    (
        "gitlab",
        {
            "GITLAB_CI": "true",
            "CI_PROJECT_URL": "https://gitlab.example.com/gitlab-org/model",
            "CI_COMMIT_SHA": COMMIT,
            "CI_COMMIT_BRANCH": "main",
            "CI_PIPELINE_NAME": "nightly",
            "CI_JOB_NAME": "sign",
            "CI_PIPELINE_ID": "1000",
            "CI_PIPELINE_IID": "10",
            "GITLAB_USER_LOGIN": "alice",
            "CI_PIPELINE_SOURCE": "schedule",
            "CI_REPOSITORY_URL": "https://gitlab-ci-token:glcbt-64_secret@gitlab.example.com/gitlab-org/model.git",
        },
        {
            "git_url": "https://gitlab.example.com/gitlab-org/model",
            "git_commit": COMMIT,
            "git_branch": "main",
            "pipeline_name": "nightly",
            "job_name": "sign",
            "run_id": "1000",
            "build_num": "10",
            "actor": "alice",
            "event_name": "schedule",
        },
    ),
    (
        "gitlab",
        {"GITLAB_CI": "true", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "fix", "CI_COMMIT_TAG": "v2"},
        {"git_branch": "fix", "git_tag": "v2"},
    ),
    (
        "jenkins",
        {
            "JENKINS_URL": "https://jenkins.example.org/",
            "GIT_URL": "https://bot:token@git.example.org/model.git",
            "GIT_COMMIT": COMMIT,
            "GIT_BRANCH": "origin/main",
            "JOB_NAME": "models/train",
            "STAGE_NAME": "Sign",
            "BUILD_TAG": "jenkins-models-train-42",
            "BUILD_NUMBER": "42",
            "BUILD_USER_ID": "alice",
        },
        {
            "git_url": "https://git.example.org/model.git",
            "git_commit": COMMIT,
            "git_branch": "main",
            "pipeline_name": "models/train",
            "job_name": "Sign",
            "run_id": "jenkins-models-train-42",
            "build_num": "42",
            "actor": "alice",
        },
    ),
    (
        "circleci",
        {
            "CIRCLECI": "true",
            "CIRCLE_REPOSITORY_URL": "git@github.com:octo/model.git",
            "CIRCLE_SHA1": COMMIT,
            "CIRCLE_BRANCH": "main",
            "CIRCLE_JOB": "train",
            "CIRCLE_WORKFLOW_ID": "f6a40b0e-5d34-4d0b-8f2f-4d1f7d6b0c11",
            "CIRCLE_BUILD_NUM": "17",
            "CIRCLE_USERNAME": "octocat",
        },
        {
            "git_url": "git@github.com:octo/model.git",
            "git_commit": COMMIT,
            "git_branch": "main",
            "job_name": "train",
            "run_id": "f6a40b0e-5d34-4d0b-8f2f-4d1f7d6b0c11",
            "build_num": "17",
            "actor": "octocat",
        },
    ),
    (
        "azure",
        {
            "TF_BUILD": "True",
            "BUILD_REPOSITORY_URI": "https://fabrikam@dev.azure.com/fabrikam/ml/_git/model",
            "BUILD_SOURCEVERSION": COMMIT,
            "BUILD_SOURCEBRANCH": "refs/heads/releases/1",
            "BUILD_DEFINITIONNAME": "train",
            "SYSTEM_JOBDISPLAYNAME": "Sign the model",
            "BUILD_BUILDID": "812",
            "BUILD_BUILDNUMBER": "20260102.3",
            "BUILD_REQUESTEDFOR": "Alice Example",
            "BUILD_REASON": "IndividualCI",
        },
        {
            "git_url": "https://dev.azure.com/fabrikam/ml/_git/model",
            "git_commit": COMMIT,
            "git_ref": "refs/heads/releases/1",
            "git_branch": "releases/1",
            "pipeline_name": "train",
            "job_name": "Sign the model",
            "run_id": "812",
            "build_num": "20260102.3",
            "actor": "Alice Example",
            "event_name": "IndividualCI",
        },
    ),
    (
        "travis",
        {
            "TRAVIS": "true",
            "TRAVIS_COMMIT": COMMIT,
            "TRAVIS_BRANCH": "v3",
            "TRAVIS_TAG": "v3",
            "TRAVIS_PULL_REQUEST_BRANCH": "",
            "TRAVIS_JOB_NAME": "train",
            "TRAVIS_BUILD_ID": "99",
            "TRAVIS_BUILD_NUMBER": "9",
            "TRAVIS_EVENT_TYPE": "push",
        },
        {
            "git_commit": COMMIT,
            "git_tag": "v3",
            "job_name": "train",
            "run_id": "99",
            "build_num": "9",
            "event_name": "push",
        },
    ),
    (
        "bitbucket",
        {
            "CI": "true",
            "BITBUCKET_BUILD_NUMBER": "5",
            "BITBUCKET_GIT_HTTP_ORIGIN": "http://bitbucket.org/team/model",
            "BITBUCKET_COMMIT": COMMIT,
            "BITBUCKET_BRANCH": "main",
            "BITBUCKET_PIPELINE_UUID": "{a1b2}",
            "BITBUCKET_STEP_TRIGGERER_UUID": "{c3d4}",
        },
        {
            "git_url": "http://bitbucket.org/team/model",
            "git_commit": COMMIT,
            "git_branch": "main",
            "run_id": "{a1b2}",
            "build_num": "5",
            "actor": "{c3d4}",
        },
    ),
    (
        "teamcity",
        {
            "TEAMCITY_VERSION": "2024.12 (build 174331)",
            "BUILD_VCS_NUMBER": COMMIT,
            "TEAMCITY_PROJECT_NAME": "Models",
            "TEAMCITY_BUILDCONF_NAME": "Sign",
            "BUILD_NUMBER": "31",
        },
        {"git_commit": COMMIT, "pipeline_name": "Models", "job_name": "Sign", "build_num": "31"},
    ),
    (
        "tekton",
        {
            "TEKTON_PIPELINE_RUN": "train-x7k2p",
            "TEKTON_PIPELINE": "train",
            "TEKTON_COMMIT_SHA": COMMIT,
            "TEKTON_BRANCH": "main",
        },
        {"git_commit": COMMIT, "git_branch": "main", "pipeline_name": "train", "run_id": "train-x7k2p"},
    ),
    ("local", {"CI": "true", "BUILD_NUMBER": "1", "GIT_COMMIT": COMMIT}, {}),
]


@pytest.mark.parametrize(("provider", "environ", "expected"), RUNS, ids=[f"{run[0]}-{i}" for i, run in enumerate(RUNS)])
def test_what_each_service_documents(provider: str, environ: dict[str, str], expected: dict[str, str]) -> None:
    assert context(None, environ).document() == {"context_type": provider, **expected}


def test_every_provider_is_in_the_table() -> None:
    assert {provider.name for provider in PROVIDERS} | {"local"} == {run[0] for run in RUNS}


class _Watched(Mapping[str, str]):
    """An environment that remembers what was asked of it and refuses to be listed."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values_ = values
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self.values_[name]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the environment was listed")

    def __len__(self) -> int:
        raise AssertionError("the environment was listed")


@pytest.mark.parametrize("provider", [provider.name for provider in PROVIDERS] + ["local"])
def test_only_variables_of_the_tables_are_read(provider: str) -> None:
    known = {p.marker for p in PROVIDERS} | {v for p in PROVIDERS for names in p.fields.values() for v in names}
    known |= {"GITHUB_REPOSITORY", "GITHUB_SERVER_URL"}
    marker = next((p.marker for p in PROVIDERS if p.name == provider), "HOME")
    environ = _Watched({marker: "true", "AWS_SECRET_ACCESS_KEY": "s", "GITHUB_TOKEN": "s", "CI_JOB_TOKEN": "s"})
    assert context(None, environ, identify=True).context_type == provider
    assert environ.asked <= known


def test_host_and_user_only_when_asked_for() -> None:
    assert not {"hostname", "username"} & set(context(None, {}).document())
    asked = context(None, {}, identify=True).document()
    assert asked["hostname"] == os.uname().nodename
    assert asked["username"]


def test_values_are_bounded_and_printable() -> None:
    environ = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_ACTOR": "a\x1b[2Jlice\u202egnp.exe\n\udcff",
        "GITHUB_WORKFLOW": "w" * 100_000,
        "GITHUB_JOB": "\n\t ",
    }
    document = context(None, environ).document()
    assert document["actor"] == "a[2Jlicegnp.exe"
    assert document["workflow"] == "w" * MAX_LENGTH
    assert "job_name" not in document


def test_the_folder_fills_in_what_the_service_does_not_say(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://git.example.org/m.git")
    head = git(repository, "rev-parse", "HEAD")
    document = context(str(repository), {"TRAVIS": "true", "TRAVIS_COMMIT": head, "TRAVIS_BRANCH": "told"}).document()
    assert document == {
        "context_type": "travis",
        "git_url": "https://git.example.org/m.git",
        "git_commit": head,
        "git_branch": "told",
    }


def test_a_model_that_a_pipeline_cloned_does_not_pass_for_the_pipelines_code(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://git.example.org/m.git")
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "octo/pipeline", "GITHUB_SHA": COMMIT}
    assert context(str(repository), environ).document() == {
        "context_type": "github",
        "git_url": "https://github.com/octo/pipeline",
        "git_commit": COMMIT,
        "target_git_url": "https://git.example.org/m.git",
        "target_git_commit": git(repository, "rev-parse", "HEAD"),
        "target_git_branch": "main",
    }
